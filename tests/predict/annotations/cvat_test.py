from xml.etree import ElementTree as ET

from fcam_tf.predict.annotations import cvat


def test_images_and_boxes(tmp_path, results):
    root = ET.parse(cvat.write(tmp_path, results)).getroot()  # noqa: S314 - our own
    assert root.findtext("version") == "1.1"
    labels = [each.text for each in root.iterfind("meta/task/labels/label/name")]
    assert labels == ["dog & <wolf>", "tabby, tabby cat"]
    images = root.findall("image")
    assert [each.attrib for each in images[:2]] == [
        {"id": "0", "name": "my cat.jpg", "width": "100", "height": "80"},
        {"id": "1", "name": "sub/猫.png", "width": "100", "height": "80"},
    ]
    assert images[2].get("name") == "out/inputs/z.zip/é\\udce9.v2.jpg"
    assert [len(each) for each in images] == [2, 0, 1]
    common = {"source": "auto", "occluded": "0", "z_order": "0"}
    edges = {"xtl": "10.00", "ytl": "20.00", "xbr": "30.00", "ybr": "60.00"}
    assert images[0][0].attrib == {"label": labels[1], **common, **edges}
    assert images[0][1].get("xbr") == "100.00"
    assert {box.get("label") for box in root.iter("box")} <= set(labels)


def test_of_no_photo(tmp_path, empty):
    assert ET.parse(cvat.write(tmp_path, empty)).getroot().find("image") is None  # noqa: S314 - our own
