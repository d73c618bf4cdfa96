import json
import os

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fcam_tf.predict.annotations import coco


@pytest.fixture
def read(tmp_path, results, capsys):
    file = coco.write(tmp_path, results)
    assert file == tmp_path / "coco.json"
    dataset = COCO(str(file))
    capsys.readouterr()  # which it prints to
    return dataset


def test_images_and_categories(read):
    names = ["my cat.jpg", "sub/猫.png", "out/inputs/z.zip/é\udce9.v2.jpg"]
    assert [image["file_name"] for image in read.loadImgs([1, 2, 3])] == names
    assert os.fsencode(names[2]).endswith(b"\xc3\xa9\xe9.v2.jpg")  # the file can be opened
    assert read.imgs[1] == {"id": 1, "file_name": "my cat.jpg", "width": 100, "height": 80}
    assert read.imgs[3]["source"] == "z.zip/é\udce9.v2.jpg"
    assert {n: each["name"] for n, each in read.cats.items()} == {
        4: "dog & <wolf>",
        8: "tabby, tabby cat",
    }
    assert read.dataset["info"]["root"] == "/photos"


def test_boxes_and_masks(read):
    first, second, third = read.loadAnns([1, 2, 3])
    assert (first["bbox"], first["area"], first["score"]) == ([10, 20, 20, 40], 800, 0.75)
    assert (second["bbox"], second["area"], second["category_id"]) == ([99, 79, 1, 1], 1, 4)
    assert [each["image_id"] for each in (first, second, third)] == [1, 1, 3]
    expected = np.zeros((80, 100))
    expected[20:60, 10:30] = 1
    np.testing.assert_array_equal(read.annToMask(first), expected)
    assert read.getAnnIds(imgIds=[2]) == []


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_the_evaluator_takes_it(read, kind, capsys):
    """Compared with itself each object is found."""
    detections = [{k: v for k, v in a.items() if k != "id"} for a in read.dataset["annotations"]]
    evaluator = COCOeval(read, read.loadRes(detections), kind)
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    capsys.readouterr()
    assert evaluator.stats[0] == 1


def test_without_run_lengths(tmp_path, make):
    write, record, found = make
    results = write(tmp_path, record("/a.jpg", "a", found(0, "x", 1.0, [0, 0, 9, 9], rle=False)))
    (each,) = json.loads(coco.write(tmp_path, results).read_text())["annotations"]
    assert "segmentation" not in each
    assert each["area"] == 100


def test_of_no_photo(tmp_path, empty):
    read = json.loads(coco.write(tmp_path, empty).read_text())
    assert (read["images"], read["annotations"], read["categories"]) == ([], [], [])
