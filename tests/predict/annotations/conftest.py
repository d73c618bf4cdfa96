import json

import numpy as np
import pytest

from fcam_tf.predict.annotations.found import Results
from fcam_tf.predict.cutting import coco_rle

BOX = [10, 20, 29, 59]  # 20 x 40 pixels of 100 x 80
CORNER = [99, 79, 99, 79]  # the last pixel


def mask(box):
    x0, y0, x1, y1 = box
    full = np.zeros((80, 100), np.uint8)
    full[y0 : y1 + 1, x0 : x1 + 1] = 1
    return full


def found(label, name, score, box, *, rle=True):
    pixels = int(mask(box).sum()) if box else 0
    entry = {"label": label, "label_name": name, "score": score, "box": box}
    entry |= {"area": pixels / 8000, "heat": 0.5, "threshold": 0.4, "overlay": "a_overlay.png"}
    entry |= {"heatmap": None, "mask": "m.png"}
    if rle:
        entry["rle"] = coco_rle(mask(box) if box else np.zeros((80, 100), np.uint8))
    return entry


def record(file, name, *objects, **more):
    entry = {"file": file, "name": name, **objects[0], "width": 100, "height": 80}
    return entry | {"objects": list(objects), "bytes": 1, "modified": 1.5, **more}


def write(folder, *records, **settings):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    kept = {"settings": {"method": "auto"}, "model": "net", "made_with": {"method": "layercam"}}
    (folder / "settings.json").write_text(json.dumps(kept | settings))
    return Results(folder)


@pytest.fixture
def results(tmp_path):
    """Two objects; nothing; one object in a photo of an archive, whose name is not UTF-8."""
    return write(
        tmp_path / "out",
        record(
            "/photos/my cat.jpg",
            "my cat",
            found(7, "tabby, tabby cat", 0.75, BOX),
            found(3, "dog & <wolf>", 0.5, CORNER),
        ),
        record("/photos/sub/猫.png", "sub/猫", found(5, "owl", 0.25, None)),
        record(
            "/photos/out/inputs/z.zip/é\udce9.v2.jpg",
            "z.zip/é.v2",
            found(7, "tabby, tabby cat", 1.0, BOX),
            source="z.zip/é\udce9.v2.jpg",
        ),
    )


@pytest.fixture
def make():
    """Writes records of `record` and `found`; returns their results."""
    return write, record, found


@pytest.fixture
def empty(tmp_path):
    """Results of no photo."""
    return write(tmp_path / "empty")
