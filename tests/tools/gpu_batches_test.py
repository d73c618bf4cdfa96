import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

jax = pytest.importorskip("jax")
sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import gpu_batches  # noqa: E402

PHOTO = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
KEY = jax.random.key(0)


def test_a_box_of_the_same_size_is_cut_out():
    box = np.array([[1.0, 2.0, 3.0, 4.0]], "float32")
    found = gpu_batches.cut(PHOTO, box, np.array([False]), 2)
    np.testing.assert_allclose(found[0, :, :, 0], [[9, 10], [13, 14]], atol=1e-5)
    flipped = gpu_batches.cut(PHOTO, box, np.array([True]), 2)
    np.testing.assert_allclose(flipped[0, :, :, 0], [[10, 9], [14, 13]], atol=1e-5)


def test_whole_images_are_scaled_as_by_the_package():
    photos = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    expected = keras.ops.image.resize(photos, (20, 20))
    boxes = np.tile(np.array([0, 0, 8, 8], "float32"), (2, 1))
    found = gpu_batches.cut(photos, boxes, np.array([False, True]), 20)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-3)
    np.testing.assert_allclose(found[1], np.asarray(expected)[1, :, ::-1], atol=1e-3)


def test_boxes_lie_inside_and_have_their_area():
    boxes = np.asarray(gpu_batches.random_boxes(KEY, 1000, 0.3, 64))
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
    mixed, targets = gpu_batches.mix(KEY, images, np.eye(64, dtype="float32"))
    np.testing.assert_allclose(np.asarray(targets).sum(-1), 1, atol=1e-5)
    means = np.asarray(mixed).mean((1, 2, 3))
    np.testing.assert_allclose(means, np.asarray(targets) @ values, rtol=1e-4, atol=1e-3)
    untouched = (np.asarray(mixed) == images).all((1, 2, 3)).mean()
    assert 0.1 < untouched < 0.5


@pytest.fixture
def photos():
    """Return twelve photos of three classes, each of one colour."""
    pixels = np.repeat(np.arange(0, 240, 20, dtype=np.uint8), 192).reshape(12, 8, 8, 3)
    split = SimpleNamespace(class_names=("a", "b", "c"))
    return SimpleNamespace(split=split, pixels=pixels, labels=np.arange(12) % 3)


def test_labels_are_smoothed_and_a_teacher_has_its_share(photos):
    rows = np.arange(12)
    x, y = gpu_batches.labelled(photos, 4, None)(KEY, rows)
    assert x.shape == (12, 4, 4, 3)
    np.testing.assert_allclose(np.asarray(y).sum(-1), 1, atol=1e-5)
    assert np.asarray(y).min() == pytest.approx(0.1 / 3)
    same, taught = gpu_batches.labelled(photos, 4, lambda _: np.eye(3)[:1])(KEY, rows)
    np.testing.assert_array_equal(same, x)
    np.testing.assert_allclose(taught, 0.3 * np.asarray(y) + [0.7, 0, 0], atol=1e-5)


def test_maps_are_cut_with_their_photos(photos):
    ramp = np.random.default_rng(0).uniform(0, 255, (12, 8, 8, 3)).astype("float32")
    photos.pixels = ramp
    x, y = gpu_batches.mapped(photos, 6, ramp[..., 0])(KEY, np.arange(12))
    np.testing.assert_allclose(y["cam"], x[..., 0], atol=1e-3)
    np.testing.assert_array_equal(y["label"], photos.labels)


def test_an_epoch_is_the_same_whichever_came_before():
    def epoch(batches, number):
        batches.begin(number)
        return [batches[i] for i in range(batches.num_batches)]

    def drawn(key, rows):
        return jax.random.key_data(key).tolist(), rows.tolist()

    one, other = (gpu_batches.Batches(drawn, 11, 4, None) for _ in range(2))
    first, second = epoch(one, 0), epoch(one, 1)
    assert epoch(other, 1) == second != first
    assert len({row for _, rows in first for row in rows}) == 8  # no photo twice; the rest waits
    assert gpu_batches.Batches(drawn, 11, 4, 1).num_batches == 1
    assert gpu_batches.Batches(drawn, 3, 4, None).num_batches == 1
