import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from fcam_tf.claim import FolderBusyError, SettingsChangedError
from fcam_tf.photos import Photo
from fcam_tf.predict import Files, Localization, pictures
from fcam_tf.predict.outputs import LocalizeSettings, ResultsFile, read_results

SETTINGS = LocalizeSettings("net", "abc", "layercam", "otsu")


FOUND = {"label": 0, "label_name": None, "score": 0.5, "box": None}
FOUND |= {"area": 0.0, "heat": 0.0, "threshold": 0.5}


def record(file, **more):
    size = {"width": 4, "height": 3}
    name = Path(file).name
    return {"file": file, "name": name, "objects": [], "modified": 1.5, **size, **more}


def write(folder, *records, settings=SETTINGS, **options):
    with ResultsFile(folder, settings, **options) as results:
        results.start()
        for entry in records:
            results.append(entry)


def test_what_was_written_is_read(tmp_path):
    out = tmp_path / "new" / "out"
    write(out, record("a"), record("größe \udce9 猫\n"))
    assert [r["file"] for r in read_results(out)] == ["a", "größe \udce9 猫\n"]
    with ResultsFile(out, SETTINGS) as results:
        assert list(results.finished) == ["a", "größe \udce9 猫\n"]
        assert "a" in results.names()
        assert results.finished["a"]["objects"] == []


def test_unicode_stays_readable(tmp_path):
    write(tmp_path, record("größe"))
    assert "größe" in (tmp_path / "results.jsonl").read_text("utf-8")


def test_nothing_is_made_before_the_start(tmp_path):
    ResultsFile(tmp_path / "out", SETTINGS).close()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kept", [1, 20, -2])
def test_a_torn_last_line_is_repaired(tmp_path, kept):
    write(tmp_path, record("a"), record("b"))
    path = tmp_path / "results.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:kept])
    write(tmp_path, record("c"))
    assert [json.loads(line)["file"] for line in path.read_text().splitlines()] == ["a", "c"]


def test_a_missing_last_newline_loses_nothing(tmp_path):
    write(tmp_path, record("a"))
    path = tmp_path / "results.jsonl"
    path.write_bytes(path.read_bytes().rstrip())
    write(tmp_path, record("b"))
    assert [json.loads(line)["file"] for line in path.read_text().splitlines()] == ["a", "b"]


def test_forgotten_and_repeated_results_go(tmp_path):
    write(tmp_path, record("a", n=1), record("b"), record("a", n=2))
    with ResultsFile(tmp_path, SETTINGS) as results:
        results.start(forget={"b"})
    assert [(r["file"], r["n"]) for r in read_results(tmp_path)] == [("a", 2)]


def test_other_settings_are_explained(tmp_path):
    write(tmp_path, record("a"))
    other = LocalizeSettings("net", "abc", "gradcam", 0.2)
    with pytest.raises(
        SettingsChangedError, match="method was 'layercam' and is now 'gradcam', thr"
    ):
        ResultsFile(tmp_path, other)
    write(tmp_path, record("b"), settings=other, overwrite=True)
    assert [r["file"] for r in read_results(tmp_path)] == ["b"]


def test_overwriting_with_the_same_settings_keeps_what_is_not_forgotten(tmp_path):
    write(tmp_path, record("a"))
    write(tmp_path, record("b"), overwrite=True)
    assert [r["file"] for r in read_results(tmp_path)] == ["a", "b"]


def test_results_of_unknown_settings(tmp_path):
    write(tmp_path, record("a"))
    (tmp_path / "settings.json").unlink()
    with pytest.raises(SettingsChangedError, match=r"settings\.json is missing"):
        ResultsFile(tmp_path, SETTINGS)


def test_other_settings_of_no_results_do_not_matter(tmp_path):
    write(tmp_path)
    write(tmp_path, record("a"), settings=LocalizeSettings("net", "abc", "cam", 0.5))


def test_a_second_writer_is_refused(tmp_path):
    with ResultsFile(tmp_path, SETTINGS), pytest.raises(FolderBusyError, match="another process"):
        ResultsFile(tmp_path, SETTINGS)
    ResultsFile(tmp_path, SETTINGS).close()


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path):
    with ResultsFile(tmp_path, SETTINGS) as results:
        results.start()
        results.append(record("a"))
        before = (tmp_path / "results.jsonl").read_bytes()
        real = results._file
        results._file = FullDisk(real)
        with pytest.raises(OSError, match=r"No space.*results\.jsonl"):
            results.append(record("b"))
        results._file = real
        assert (tmp_path / "results.jsonl").read_bytes() == before
        results.append(record("c"))
    assert [r["file"] for r in read_results(tmp_path)] == ["a", "c"]


def test_a_photo_is_done_while_its_size_time_and_outputs_stay(tmp_path):
    photo, out = tmp_path / "a.png", tmp_path / "out"
    photo.write_bytes(b"12345")
    os.utime(photo, (7, 7))
    files = {**FOUND, "overlay": "a_overlay.png", "heatmap": None}
    entry = record(str(photo), objects=[files], bytes=5, modified=7.0)
    write(out, entry)

    def held():
        with ResultsFile(out, SETTINGS) as results:
            return results.holds(photo)

    assert not held()
    (out / "a_overlay.png").touch()
    assert held()
    photo.write_bytes(b"1234")
    os.utime(photo, (7, 7))
    assert not held()
    photo.write_bytes(b"54321")
    os.utime(photo, (8, 8))
    assert not held()
    os.utime(photo, (7, 7))
    assert held()
    photo.unlink()
    assert not held()
    with ResultsFile(out, SETTINGS) as results:
        assert not results.holds(Path("other.png"))


def test_what_the_settings_come_to_is_noted_and_does_not_mix(tmp_path):
    def begin(method, forget=(), **options):
        with ResultsFile(tmp_path, SETTINGS, **options) as results:
            results.start(forget, {"method": method})
            for name in forget or "ab":
                results.append(record(name))

    begin("cam")
    found = json.loads((tmp_path / "settings.json").read_text())
    assert found["made_with"] == {"method": "cam"}
    with pytest.raises(SettingsChangedError, match=r"made with \{'method': 'cam'\}; new ones"):
        begin("layercam", forget=("b",))
    assert [r["file"] for r in read_results(tmp_path)] == ["a", "b"]
    begin("layercam", forget=("b",), overwrite=True)
    assert [r["file"] for r in read_results(tmp_path)] == ["b"]
    assert json.loads((tmp_path / "settings.json").read_text())["made_with"]["method"] == "layercam"
    begin("cam", forget=("b",))  # nothing is kept


class FullDisk:
    """Takes ten bytes, then no more."""

    def __init__(self, file):
        self.file = file
        self.room = 10

    def write(self, data):
        if not self.room:
            raise OSError(28, os.strerror(28))
        self.room = 0
        return self.file.write(data[:10])

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.fixture
def result():
    heatmap = np.zeros((4, 8))
    heatmap[1:3, 2:6] = 1
    return Localization.from_heatmaps([heatmap], [[0.25, 0.75]], [0], 0.5)


@pytest.fixture
def photo():
    return Photo(np.zeros((8, 8, 3), np.uint8), np.zeros((20, 40, 3), np.uint8), 4000, 2000)


def outputs(folder, class_names, photo, result, *, objects=1, min_area=0.01, options=None, **files):
    settings = dataclasses.replace(
        SETTINGS,
        objects=objects,
        min_area=min_area,
        options=options or {},
        files=Files(**{"heatmap": "none", **files}),
    )
    pixels = photo.view if settings.files.need_pixels else None
    with ResultsFile(folder, settings, overwrite=True) as results:
        results.start(class_names=class_names)
        return results.write("a/b", photo, result, pixels)


def test_record(tmp_path, result, photo):
    record = outputs(tmp_path, ("cat, house cat", "dog"), photo, result, heatmap="npy")
    cat = {
        "label": 0,
        "label_name": "cat, house cat",
        "score": 0.25,
        "box": [1000, 500, 2999, 1499],  # in the photo's own pixels, not those of its view
        "area": 0.25,
        "heat": 1.0,
        "threshold": pytest.approx(127 / 255, abs=1e-6),
        "overlay": "a/b_overlay.png",
        "heatmap": "a/b_heatmap.npy",
    }
    assert record == {"name": "a/b", **cat, "width": 4000, "height": 2000, "objects": [cat]}
    assert np.load(tmp_path / "a/b_heatmap.npy").shape == (20, 40)


def test_options_of_the_method_are_in_the_record(tmp_path, result, photo):
    options = {"scales": [1, 2], "flip": True}
    assert outputs(tmp_path, None, photo, result, options=options)["options"] == options


def test_a_record_of_several_classes(tmp_path, photo):
    heatmaps = np.zeros((2, 4, 8))
    heatmaps[0, 1:3, 2:6], heatmaps[1, :, :2] = 1, 0.5
    result = Localization.from_heatmaps(heatmaps, [[0.6, 0.75]] * 2, [1, 0], 0.5)
    record = outputs(tmp_path, ("cat, house cat", "dog"), photo, result, heatmap="npy")
    first, second = record["objects"]
    assert first.items() <= record.items()
    assert (first["label_name"], first["score"]) == ("dog", 0.75)
    assert first["box"] == [1000, 500, 2999, 1499]
    assert (first["overlay"], first["heatmap"]) == ("a/b_overlay.png", "a/b_heatmap.npy")
    assert (second["label_name"], second["score"]) == ("cat, house cat", 0.6)
    assert second["box"] == [0, 0, 999, 1999]
    assert (second["area"], second["heat"]) == (0.25, 0.5)
    assert (second["overlay"], second["heatmap"]) == ("a/b_overlay_2.png", "a/b_heatmap_2.npy")
    assert np.load(tmp_path / second["heatmap"]).max() == 0.5

    # One class is a list, too, and what was there of a second is gone.
    record = outputs(tmp_path, None, photo, result[:1], heatmap="npy")
    assert [each["label"] for each in record["objects"]] == [1]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        *("b_heatmap.npy", "b_overlay.png")
    ]


@pytest.fixture
def two_regions():
    """Sixteen pixels at the left and two at the right of 4 x 8, and a class that is nowhere."""
    heatmaps = np.zeros((2, 4, 8))
    heatmaps[0, :, :4], heatmaps[0, :2, 7] = 0.8, 1
    return Localization.from_heatmaps(heatmaps, [[0.25, 0.75]] * 2, [0, 1], 0.5)


def test_every_region_is_an_object(tmp_path, photo, two_regions):
    more = {"objects": None, "mask": ["png"], "crops": True, "overlay": "none"}
    record = outputs(tmp_path, None, photo, two_regions, **more)
    large, small, none = record["objects"]
    assert [each["label"] for each in record["objects"]] == [0, 0, 1]
    assert (large["box"], large["area"], large["heat"]) == ([0, 0, 1999, 1999], 0.5, 0.8)
    assert (small["box"], small["area"], small["heat"]) == ([3500, 0, 3999, 999], 0.0625, 1)
    assert (none["box"], none["area"], none["heat"]) == (None, 0, 0)
    assert [each["mask"] for each in record["objects"]] == [
        *("a/b_mask.png", "a/b_mask_2.png", "a/b_mask_3.png")
    ]
    assert [each["crop"] for each in record["objects"]] == ["a/b_crop.jpg", "a/b_crop_2.jpg", None]
    assert {each["overlay"] for each in record["objects"]} == {None}

    # Fewer are asked for: the files of the others go.
    outputs(tmp_path, None, photo, two_regions[:1], **more | {"min_area": 0.1})
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b_crop.jpg", "b_mask.png"]
    record = outputs(tmp_path, None, photo, two_regions[:1], **more | {"objects": 1})
    assert len(record["objects"]) == 1


def test_files_of_all_classes_are_needed(tmp_path):
    photo = tmp_path / "a.png"
    photo.write_bytes(b"12345")
    os.utime(photo, (7, 7))
    files = [{"overlay": f"a_overlay{n}.png", "crop": f"a_crop{n}.jpg"} for n in ("", "_2")]
    write(
        tmp_path,
        record(str(photo), objects=[FOUND | each for each in files], bytes=5, modified=7.0),
    )
    names = [name for each in files for name in each.values()]
    for name in names:
        (tmp_path / name).touch()
        with ResultsFile(tmp_path, SETTINGS) as results:
            assert results.holds(photo) == (name == names[-1])


def test_caption_is_the_first_name(tmp_path, result, photo, monkeypatch):
    drawn = []

    def overlay(view, _heatmap, boxes, label, score):
        drawn.append((boxes, label, score))
        return view

    monkeypatch.setattr(pictures.visualize, "overlay", overlay)
    for names in (("cat, house cat", "dog"), None):
        outputs(tmp_path, names, photo, result)
    assert drawn == [([(2, 1, 5, 2)], "cat", 0.25), ([(2, 1, 5, 2)], "class 0", 0.25)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"top": 0}, "`top` must be 1 or more"),
        ({"objects": 0}, "`objects` must be 1 or more"),
        ({"min_area": 1.5}, r"`min_area` must be in \[0, 1\]"),
        ({"label": ["cat"], "top": 2}, r"exclude each other. Received: \['cat'\] and 2"),
    ],
)
def test_impossible_settings(wrong, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SETTINGS, **wrong)
