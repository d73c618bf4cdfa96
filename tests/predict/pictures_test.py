import numpy as np
import pytest
from PIL import Image

from fcam_tf.photos import Photo
from fcam_tf.predict import Localization, pictures

PHOTO = Photo(np.zeros((8, 8, 3), np.uint8), np.full((20, 40, 3), 90, np.uint8), 4000, 2000)


def found(*levels):
    """Return classes with maps of one level in the left half, and probabilities 0.9, 0.8, ..."""
    maps = np.zeros((len(levels), 4, 8))
    maps[:, :, :4] = np.array(levels)[:, None, None]
    probabilities = [0.9 - 0.1 * np.arange(3)] * len(levels)
    result = Localization.from_heatmaps(maps, probabilities, np.arange(len(levels)), 0.5)
    return [result[i] for i in range(len(levels))]


def written(folder, classes, heatmap="png"):
    names = ("cat", "dog", "cow")[: len(classes)]
    return pictures.write_pictures(folder, "in/a", PHOTO, classes, names, heatmap=heatmap)


def files_in(folder):
    return sorted(path.name for path in (folder / "in").iterdir())


@pytest.fixture
def drawn(monkeypatch):
    calls = []

    def overlay(view, _heatmap, *caption):
        calls.append(caption)
        return view

    monkeypatch.setattr(pictures.visualize, "overlay", overlay)
    return calls


def test_each_class_has_its_own_files(tmp_path, drawn):
    assert written(tmp_path, found(1, 0.5)) == [
        {"overlay": "in/a_overlay.png", "heatmap": "in/a_heatmap.png"},
        {"overlay": "in/a_overlay_2.png", "heatmap": "in/a_heatmap_2.png"},
    ]
    assert drawn == [
        ((0, 0, 3, 3), "cat", pytest.approx(0.9)),
        ((0, 0, 3, 3), "dog", pytest.approx(0.8)),
    ]
    for name, level in (("a_heatmap.png", 65535), ("a_heatmap_2.png", 32768)):
        with Image.open(tmp_path / "in" / name) as image:
            assert np.asarray(image).max() == level


def test_one_map_of_all_classes_is_drawn_once(tmp_path, drawn):
    files = {"overlay": "in/a_overlay.png", "heatmap": None}
    assert written(tmp_path, found(1, 1, 1), "none") == [files] * 3
    assert drawn == [((0, 0, 3, 3), "cat 90%, dog 80%, cow", pytest.approx(0.7))]
    assert files_in(tmp_path) == ["a_overlay.png"]


def test_nothing_is_left_of_more_classes(tmp_path):
    written(tmp_path, found(1, 0.5, 0.2), "npy")
    assert len(files_in(tmp_path)) == 6
    written(tmp_path, found(1), "png")
    # A map of another form under its own name stays, as that of one class always did.
    assert files_in(tmp_path) == ["a_heatmap.npy", "a_heatmap.png", "a_overlay.png"]


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("a_overlay.png", True),
        ("a_overlay_12.png", True),
        ("a_heatmap_2.npy", True),
        ("a_heatmap.png", True),
        ("a_overlay_x.png", False),
        ("a_heatmap.jpg", False),
        ("overlay.png", False),
    ],
)
def test_names_of_pictures(name, ours):
    assert pictures.is_picture(name) == ours
