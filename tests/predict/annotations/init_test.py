import importlib.util
import json

import numpy as np
import pytest
from PIL import Image

from fcam_tf import names
from fcam_tf.predict import localize_files, write_annotations
from fcam_tf.predict.annotations import DATASETS, TABLES

FILES = {
    "coco": "coco.json",
    "yolo": "yolo/data.yaml",
    "voc": "voc",
    "labelstudio": "labelstudio/tasks.json",
    "cvat": "cvat.xml",
}


def test_the_names_of_all_forms():
    assert (tuple(DATASETS), tuple(TABLES)) == (names.DATASETS, names.TABLES)


def test_where_each_form_is(results):
    out = results.folder
    written = write_annotations(out, DATASETS, TABLES)
    expected = [out / "annotations" / FILES[form] for form in DATASETS]
    assert written == [*expected, out / "objects.csv", out / "objects.parquet"]
    assert all(path.exists() for path in written)
    assert {path.name for path in (out / "annotations").iterdir()} == {
        FILES[form].split("/")[0] for form in DATASETS
    }


def test_a_failure_leaves_what_was_there(results, monkeypatch):
    out = results.folder
    write_annotations(out, DATASETS, TABLES)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    monkeypatch.setattr("fcam_tf.predict.annotations.found.Results.__iter__", broken)
    for form in DATASETS:
        with pytest.raises(OSError, match="No space"):
            write_annotations(out, [form])
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def broken(self):
    raise OSError(28, "No space left on device")
    yield self


def test_nothing_is_written_without_results(tmp_path):
    assert write_annotations(tmp_path / "none", ["coco"], ["csv"]) == []
    assert not (tmp_path / "none").exists()


def test_what_cannot_be_written(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"`annotations` .*'tfrecord'"):
        write_annotations(tmp_path, ["tfrecord"])
    with pytest.raises(ValueError, match=r"`table` .*'xls'"):
        write_annotations(tmp_path, [], ["xls"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match=r"pip install 'fcam_tf\[table\]'"):
        write_annotations(tmp_path, [], ["parquet"])


@pytest.fixture
def photos(tmp_path):
    for place in ("a.png", "annotations/yolo/b.png"):
        file = tmp_path / "photos" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((8, 8, 3), np.uint8)
        pixels[2:4, 3:7] = 200
        Image.fromarray(pixels).save(file)
    return tmp_path / "photos"


def test_a_job_writes_them_of_all_photos(tmp_path, photos, fake_localizer):
    """With the run lengths that they need, and beside photos in folders of the same name."""

    def job(*places):
        found = localize_files(
            fake_localizer(image_size=(8, 8)),
            [photos / place for place in places],
            tmp_path / "out",
            annotations=("coco", "yolo"),
            table=["csv"],
        )
        return found, json.loads((tmp_path / "out/annotations/coco.json").read_text())

    _, read = job("a.png")
    (each,) = read["annotations"]
    assert (each["bbox"], each["area"]) == ([3, 2, 4, 2], 8)
    assert each["segmentation"]["size"] == [8, 8]
    assert [image["file_name"] for image in read["images"]] == ["a.png"]

    found, read = job("")
    assert (found.localized, found.skipped) == (1, 1)
    assert read["info"]["root"] == str(photos)
    assert [i["file_name"] for i in read["images"]] == ["a.png", "annotations/yolo/b.png"]
    assert (tmp_path / "out/photos/annotations/yolo/b_overlay.png").exists()

    (tmp_path / "out/objects.csv").unlink()
    found, again = job("")
    assert (found.localized, found.skipped) == (0, 2)  # no overlay was lost
    assert again == read
    assert len((tmp_path / "out/objects.csv").read_text().splitlines()) == 3


def test_links_to_photos_are_no_photos(photos, fake_localizer):
    def job(place):
        localizer = fake_localizer(image_size=(8, 8))
        return localize_files(localizer, place, photos / "out", annotations=["yolo"])

    assert len(job(photos).sources) == 2
    assert (photos / "out/annotations/yolo/images/a.png").is_symlink()
    assert len(job(photos).sources) == 2
    assert len(job(f"{photos}/**/*.png").sources) == 2
