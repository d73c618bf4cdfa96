import numpy as np
import pytest
import tensorflow as tf

from fcam_tf.graphs.resize import bilinear_aligned, resize


def numpy_bilinear(image, size):
    """Half-pixel centres, edges repeated."""
    for axis, new in enumerate(size):
        old = image.shape[axis]
        position = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, old - 1)
        weight = np.expand_dims(position - low, tuple(range(1, image.ndim - axis)))
        left, right = np.take(image, low, axis), np.take(image, high, axis)
        image = left * (1 - weight) + right * weight
    return image


def test_by_hand():
    maps = np.array([0.0, 1.0])[None, None, :, None]
    np.testing.assert_allclose(resize(maps, (1, 4))[0, 0, :, 0], [0, 0.25, 0.75, 1])


@pytest.mark.parametrize("size", [(7, 7), (21, 10), (8, 64), (224, 7)])
def test_equals_numpy_when_enlarging(size):
    image = np.random.default_rng(0).uniform(size=(7, 7, 3)).astype("float32")
    np.testing.assert_allclose(resize(image[None], size)[0], numpy_bilinear(image, size), atol=1e-5)


def test_float32_from_float16():
    maps = tf.ones((1, 2, 2, 1), "float16")
    assert resize(maps, (4, 4)).dtype == "float32"


def test_size_known_only_when_running():
    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 1))])
    def doubled(maps):
        shape = tf.shape(maps)
        return resize(maps, (2 * shape[1], 2 * shape[2]))

    assert doubled(np.ones((1, 3, 5, 1), "float32")).shape == (1, 6, 10, 1)


def aligned_oracle(image, height, width):
    """Interpolate on coordinates that run from the first centre to the last."""
    for axis, new in ((0, height), (1, width)):
        old = image.shape[axis]
        position = np.linspace(0, old - 1, new) if new > 1 else np.zeros(1)
        low = np.minimum(position.astype(int), old - 1)
        high = np.minimum(low + 1, old - 1)
        share = (position - low).reshape((-1, 1) if axis == 0 else (1, -1))
        left, right = np.take(image, low, axis), np.take(image, high, axis)
        image = left * (1 - share) + right * share
    return image


@pytest.mark.parametrize(("height", "width"), [(7, 9), (5, 4), (3, 4), (1, 1), (10, 2)])
def test_aligned_corners(height, width):
    images = np.random.default_rng(0).random((2, 5, 4, 1)).astype(np.float32)
    found = np.asarray(bilinear_aligned(images, (height, width)))
    assert found.shape == (2, height, width, 1)
    for n in range(2):
        expected = aligned_oracle(images[n, ..., 0], height, width)
        np.testing.assert_allclose(found[n, ..., 0], expected, atol=1e-6)


def test_aligned_size_may_be_a_tensor():
    images = np.random.default_rng(0).random((1, 5, 4, 1)).astype(np.float32)
    np.testing.assert_array_equal(
        bilinear_aligned(images, tf.constant([8, 6])), bilinear_aligned(images, (8, 6))
    )
