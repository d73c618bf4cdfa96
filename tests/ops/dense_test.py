import keras
import numpy as np
import pytest

from fcam_tf.ops import dense, dense_bilateral_filter


def brute_force(values, image, sigma_rgb, sigma_xy):
    height, width, _ = image.shape
    out = np.zeros_like(values)
    for y in range(height):
        for x in range(width):
            for v in range(height):
                for u in range(width):
                    colour = ((image[y, x] - image[v, u]) ** 2).sum() / sigma_rgb**2
                    place = ((y - v) ** 2 + (x - u) ** 2) / sigma_xy**2
                    out[y, x] += np.exp(-(colour + place) / 2) * values[v, u]
    return out


@pytest.mark.parametrize("pairs", [1, 200, 2**23])  # a row, several rows, and all at a time
def test_equals_the_double_sum(pairs, monkeypatch):
    monkeypatch.setattr(dense, "_PAIRS", pairs)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 5, 7, 3)).astype(float)
    values = rng.normal(size=(2, 5, 7, 2))
    filtered = np.asarray(dense_bilateral_filter(values, images, 90, 3))
    for n in range(2):
        np.testing.assert_allclose(
            filtered[n], brute_force(values[n], images[n], 90, 3), rtol=1e-5, atol=1e-5
        )


def test_needs_a_known_size():
    images = keras.KerasTensor((None, None, None, 3))
    with pytest.raises(ValueError, match="known height and width"):
        dense_bilateral_filter(keras.KerasTensor((None, None, None, 2)), images)
