import json
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree as ET

import pytest

from fcam_tf.predict.annotations import labelstudio


def test_tasks(tmp_path, results):
    tasks = json.loads(labelstudio.write(tmp_path, results).read_text("utf-8"))
    urls = [task["data"]["image"] for task in tasks]
    assert urls[0] == "/data/local-files/?d=photos/my%20cat.jpg"
    assert unquote_to_bytes(urls[2]).endswith(b"photos/out/inputs/z.zip/\xc3\xa9\xe9.v2.jpg")
    first, nothing, _ = (task["predictions"][0] for task in tasks)
    assert first["model_version"] == "net layercam"
    assert (first["score"], nothing["score"], nothing["result"]) == (0.75, 0, [])
    region, corner = first["result"]
    assert region.pop("value") == {
        "x": 10,
        "y": 25,
        "width": 20,
        "height": 50,
        "rotation": 0,
        "rectanglelabels": ["tabby, tabby cat"],
    }
    assert region == {
        "id": "object1",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": 100,
        "original_height": 80,
        "image_rotation": 0,
        "score": 0.75,
    }
    assert corner["value"]["x"] + corner["value"]["width"] == pytest.approx(100)
    assert corner["value"]["y"] + corner["value"]["height"] == pytest.approx(100)


def test_the_configuration_fits(tmp_path, results):
    tasks = json.loads(labelstudio.write(tmp_path, results).read_text("utf-8"))
    view = ET.parse(tmp_path / "labelstudio" / "config.xml").getroot()  # noqa: S314 - our own
    image, labels = view.find("Image"), view.find("RectangleLabels")
    assert image.get("value").removeprefix("$") in tasks[0]["data"]
    region = tasks[0]["predictions"][0]["result"][0]
    assert (labels.get("name"), labels.get("toName")) == (region["from_name"], region["to_name"])
    assert image.get("name") == region["to_name"]
    assert [each.get("value") for each in labels] == ["dog & <wolf>", "tabby, tabby cat"]


def test_of_no_photo(tmp_path, empty):
    assert json.loads(labelstudio.write(tmp_path, empty).read_text()) == []
