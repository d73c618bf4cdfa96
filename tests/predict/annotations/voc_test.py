from pathlib import Path
from xml.etree import ElementTree as ET

from fcam_tf.predict.annotations import voc

HEAD = ["folder", "filename", "path", "source", "size", "segmented"]


def test_a_photo(tmp_path, results):
    folder = voc.write(tmp_path, results) / "Annotations"
    root = ET.parse(folder / "my cat.xml").getroot()  # noqa: S314 - our own
    assert root.tag == "annotation"
    assert [child.tag for child in root] == [*HEAD, "object", "object"]
    assert root.findtext("filename") == "my cat.jpg"
    assert root.findtext("folder") == "JPEGImages"
    assert root.findtext("path") == "/photos/my cat.jpg"
    assert [child.text for child in root.find("size")] == ["100", "80", "3"]
    first, second = root.iterfind("object")
    assert [c.tag for c in first] == ["name", "pose", "truncated", "difficult", "bndbox"]
    assert first.findtext("name") == "tabby, tabby cat"
    assert second.findtext("name") == "dog & <wolf>"
    # One-based, inclusive: the last pixel of 100 x 80 is 100, 80.
    corners = [{c.tag: int(c.text) for c in each.find("bndbox")} for each in (first, second)]
    assert corners == [
        {"xmin": 11, "ymin": 21, "xmax": 30, "ymax": 60},
        {"xmin": 100, "ymin": 80, "xmax": 100, "ymax": 80},
    ]


def test_nothing_found_and_odd_names(tmp_path, results):
    folder = voc.write(tmp_path, results) / "Annotations"
    root = ET.parse(folder / "sub" / "猫.xml").getroot()  # noqa: S314 - our own
    assert [child.tag for child in root] == HEAD
    assert root.findtext("filename") == "sub/猫.jpg"
    root = ET.parse(folder / "z.zip" / "é.v2.xml").getroot()  # noqa: S314 - our own
    assert root.findtext("path") == "/photos/out/inputs/z.zip/é\\udce9.v2.jpg"
    assert root.findtext("source/database") == "z.zip/é\\udce9.v2.jpg"


def test_what_readers_of_the_development_kit_look_for(tmp_path, results):
    """The list of photos, a link to each, and the classes, as torchvision and CVAT read them."""
    place = voc.write(tmp_path, results)
    names = (place / "ImageSets/Main/trainval.txt").read_text("utf-8").splitlines()
    assert names == ["my cat", "sub/猫", "z.zip/é.v2"]
    for name, photo in zip(names, results, strict=True):
        assert (place / "JPEGImages" / f"{name}.jpg").readlink() == Path(photo.file)
        root = ET.parse(place / "Annotations" / f"{name}.xml").getroot()  # noqa: S314 - our own
        assert root.findtext("filename") == f"{name}.jpg"
    labels = (place / "labelmap.txt").read_text("utf-8").splitlines()
    assert labels[1:] == ["dog & <wolf>:::", "tabby, tabby cat:::"]


def test_lists_leave_out_what_a_line_cannot_hold(tmp_path, make):
    write, record, found = make
    boxes = [found(n, name, 1.0, [0, 0, 1, 1]) for n, name in enumerate(["a:b", "c\nd", "e"])]
    place = voc.write(tmp_path, write(tmp_path / "out", record("/x", "x\ny", *boxes)))
    assert not (place / "ImageSets/Main/trainval.txt").read_bytes()
    assert (place / "labelmap.txt").read_text().splitlines()[1:] == ["e:::"]


def test_names_with_ends_of_lines(tmp_path, make):
    write, record, found = make
    name = "\rcat\r\n\t.jpg"
    box = found(0, "tab\rby", 1.0, [0, 0, 1, 1])
    folder = (
        voc.write(tmp_path, write(tmp_path / "out", record(f"/{name}", "x", box))) / "Annotations"
    )
    root = ET.parse(folder / "x.xml").getroot()  # noqa: S314 - our own
    assert (root.findtext("path"), root.findtext("object/name")) == (f"/{name}", "tab\rby")


def test_of_no_photo(tmp_path, empty):
    assert not list((voc.write(tmp_path, empty) / "Annotations").iterdir())
