import io

import numpy as np
import pytest
from PIL import Image

from tools.packs import Images, join, read_pack, write_pack

COLOURS = [(250, 10, 20), (0, 200, 100), (90, 90, 90)]


def png(colour, size):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "png")
    return file.getvalue()


@pytest.fixture
def packs(tmp_path):
    """Two packs of one split: two images with three boxes, and one with none; of other classes."""
    first = {
        **{f"val_image_{k}": v for k, v in join([png(c, (5, 9)) for c in COLOURS[:2]]).items()},
        **{
            f"val_box_{k}": v
            for k, v in join([np.array([[0, 1, 2, 3], [4, 5, 6, 7]]), np.array([[8] * 4])]).items()
        },
        "val_labels": np.array([1, 0]),
        "val_masks": np.arange(8, dtype=np.uint8).reshape(2, 2, 2),
        "class_names": np.array(["a", "b"]),
    }
    second = {
        **{f"val_image_{k}": v for k, v in join([png(COLOURS[2], (4, 4))]).items()},
        "val_labels": np.array([7]),
        "class_names": np.array([str(n) for n in range(9)]),
    }
    paths = [tmp_path / "0.xz", tmp_path / "1.xz"]
    for path, pack in zip(paths, (first, second), strict=True):
        write_pack(path, pack)
    return [read_pack(path) for path in paths]


def test_what_was_packed_is_read(packs):
    images = Images(packs, "val", 6, classes=2)
    assert len(images) == 3
    np.testing.assert_array_equal(images.labels, [1, 0, -1])
    for pixels, colour in zip(images.pixels, COLOURS, strict=True):
        np.testing.assert_array_equal(pixels, np.full((6, 6, 3), colour))
    np.testing.assert_array_equal(images.boxes[0], [[0, 1, 2, 3], [4, 5, 6, 7]])
    np.testing.assert_array_equal(images.boxes[1], [[8] * 4])
    np.testing.assert_array_equal(images.masks, packs[0]["val_masks"])


def test_some_and_none(packs):
    some = Images(packs, "val", 6, classes=9, limit=2)
    np.testing.assert_array_equal(some.labels, [-1, -1])
    assert some.pixels.shape == (2, 6, 6, 3)
    one = Images(packs, "val", 6, classes=2, limit=1)
    assert (len(one.boxes), len(one.masks)) == (1, 1)
    none = Images(packs, "train", 6, classes=2)
    assert (len(none), none.boxes, none.masks) == (0, [], None)
