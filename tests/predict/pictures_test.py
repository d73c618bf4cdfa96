import io

import numpy as np
import pytest
from PIL import Image

from fcam_tf.photos import Photo
from fcam_tf.predict import Files, Localization, pictures
from fcam_tf.predict.files import PhotoFiles

PHOTO = Photo(np.zeros((8, 8, 3), np.uint8), np.full((20, 40, 3), 90, np.uint8), 4000, 2000)


@pytest.fixture
def found():
    """A map of one level in the left half, and of a class whose probability is 0.9."""
    maps = np.zeros((1, 4, 8))
    maps[:, :, :4] = 0.5
    return Localization.from_heatmaps(maps, [[0.9, 0.1]], None, 0.5)[0]


def written(folder, found, number=1, **wanted):
    files = PhotoFiles(folder, "in/a", Files(**wanted))
    regions = found.regions()
    return pictures.write_pictures(files, PHOTO, found, regions, "cat", number=number)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (40, 7)])
def test_a_picture_of_16_bits(size):
    values = np.random.default_rng(0).integers(0, 2**16, size).astype(np.uint16)
    with Image.open(io.BytesIO(pictures.deep_png(values))) as image:
        image.verify()
    with Image.open(io.BytesIO(pictures.deep_png(values))) as image:
        assert image.mode == "I;16"
        np.testing.assert_array_equal(np.asarray(image), values)


def test_a_heat_map_without_a_view_to_draw_on(tmp_path, found):
    photo = Photo(PHOTO.pixels, None, 2560, 20)
    files = PhotoFiles(tmp_path, "a", Files(overlay="none"))
    pictures.write_pictures(files, photo, found, [], "cat", number=1)
    with Image.open(tmp_path / "a_heatmap.png") as image:
        assert image.size == (1280, 10)


def test_overlay_and_heat_map(tmp_path, found, monkeypatch):
    drawn = []

    def overlay(view, _heatmap, *caption):
        drawn.append(caption)
        return view

    monkeypatch.setattr(pictures.visualize, "overlay", overlay)
    names = {"overlay": "in/a_overlay.png", "heatmap": "in/a_heatmap.png"}
    assert written(tmp_path, found) == names
    assert drawn == [([(0, 0, 3, 3)], "cat", pytest.approx(0.9))]
    with Image.open(tmp_path / "in/a_heatmap.png") as image:
        assert image.size == (40, 20)
        assert np.asarray(image).max() == 32768
    names = {"overlay": "in/a_overlay_2.png", "heatmap": "in/a_heatmap_2.npy"}
    assert written(tmp_path, found, number=2, heatmap="npy") == names
    assert np.load(tmp_path / names["heatmap"]).max() == 0.5


@pytest.mark.parametrize(("overlay", "end"), [("png", "png"), ("jpeg", "jpg"), ("webp", "webp")])
def test_forms_of_overlays(tmp_path, found, overlay, end):
    name = written(tmp_path, found, overlay=overlay, heatmap="none")["overlay"]
    assert name == f"in/a_overlay.{end}"
    with Image.open(tmp_path / name) as image:
        assert (image.format.lower(), image.size) == (overlay, (640, 320))
        plate = np.asarray(image.convert("RGB"), int)[4:8, 4:8]  # of the caption
    assert abs(plate - 20).max() < 30


def test_nothing_is_wanted(tmp_path, found):
    names = written(tmp_path, found, overlay="none", heatmap="none")
    assert names == {"overlay": None, "heatmap": None}
    assert not list((tmp_path / "in").iterdir())
