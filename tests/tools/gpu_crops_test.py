import sys
from pathlib import Path

import keras
import numpy as np
import pytest

jax = pytest.importorskip("jax")
sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import gpu_crops  # noqa: E402

PHOTO = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
KEY = jax.random.key(0)


def test_a_box_of_the_same_size_is_cut_out():
    found = gpu_crops.cut(PHOTO, np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([False]), 2)
    np.testing.assert_array_equal(found[0, :, :, 0], [[9, 10], [13, 14]])
    flipped = gpu_crops.cut(PHOTO, np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([True]), 2)
    np.testing.assert_array_equal(flipped[0, :, :, 0], [[10, 9], [14, 13]])


def test_whole_images_are_scaled_as_by_the_package():
    photos = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    expected = keras.ops.image.resize(photos, (20, 20))
    np.testing.assert_allclose(gpu_crops.whole(photos, 20), expected, atol=1e-3)
    mirrored = gpu_crops.whole(photos, 20, mirrored=True)
    np.testing.assert_allclose(mirrored, np.asarray(expected)[:, :, ::-1], atol=1e-3)


def test_boxes_lie_inside_and_have_their_area():
    boxes = np.asarray(gpu_crops.random_boxes(KEY, 1000, 0.3, 64))
    assert boxes.min() >= 0
    assert boxes.max() <= 64 + 1e-3
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    area = width * height / 64**2
    # A side that would pass the square is cut, so some areas fall below.
    assert 0.25 < area.min() < 0.35
    assert 0.9 < area.max() <= 1.001
    assert 0.7 < (width / height).min() < 0.8
    assert 1.25 < (width / height).max() < 1.4


def test_mixed_targets_have_the_share_of_the_pixels():
    """Photos of one number each: what a pixel is tells whose it is."""
    values = np.arange(64, dtype="float32")
    images = np.broadcast_to(values[:, None, None, None], (64, 16, 16, 1))
    mixed, targets = gpu_crops.mix(KEY, images, np.eye(64, dtype="float32"))
    np.testing.assert_allclose(np.asarray(targets).sum(-1), 1, atol=1e-5)
    means = np.asarray(mixed).mean((1, 2, 3))
    np.testing.assert_allclose(means, np.asarray(targets) @ values, rtol=1e-4, atol=1e-3)
    untouched = (np.asarray(mixed) == images).all((1, 2, 3)).mean()
    assert 0.1 < untouched < 0.5
