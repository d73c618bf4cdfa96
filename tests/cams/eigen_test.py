import numpy as np
import pytest

from fcam_tf import cams
from fcam_tf.cams.eigen import first_component


def svd(maps):
    """The first left singular vector times its value, turned to agree with the sum."""
    found = []
    for one in np.float64(maps):
        matrix = one.reshape(-1, one.shape[-1])
        u, s, _ = np.linalg.svd(matrix, full_matrices=False)
        projected = u[:, 0] * s[0]
        sign = np.sign(projected @ matrix.sum(-1))
        found.append((sign * projected).reshape(one.shape[:2]))
    return np.array(found)


@pytest.mark.parametrize("shape", [(3, 4, 5, 7), (3, 2, 2, 9), (1, 1, 1, 4), (1, 3, 3, 1)])
def test_first_component_is_that_of_a_singular_value_decomposition(shape):
    maps = np.random.default_rng(0).normal(size=shape).astype("float32")
    np.testing.assert_allclose(first_component(maps), svd(maps), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(first_component(1e-25 * maps) * 1e25, svd(maps), 1e-3, 1e-4)
    np.testing.assert_allclose(first_component(-maps), -svd(maps), rtol=1e-3, atol=1e-4)


def test_by_hand():
    """Cells (3, 4), (6, 8) and (0, 0) lie on one line; their lengths are 5, 10 and 0."""
    maps = np.float32([[[[3, 4], [6, 8], [0, 0]]]])
    np.testing.assert_allclose(first_component(maps), [[[5, 10, 0]]], atol=1e-5)


def test_nothing_gives_zeros():
    maps = np.float32([np.zeros((2, 2, 3)), np.full((2, 2, 3), np.nan)])
    np.testing.assert_array_equal(first_component(maps), np.zeros((2, 2, 2)))


def test_eigencam_equals_numpy_whatever_the_class(tiny):
    model, x = tiny.build(), tiny.images()
    expected = tiny.min_max(svd(tiny.activations(model, x)))
    for label in (None, 0, 2):
        np.testing.assert_allclose(cams.get("eigencam", model)(x, label), expected, atol=1e-4)


@pytest.mark.parametrize("label", [0, 2])
def test_eigengradcam_equals_numpy(tiny, label):
    model, x = tiny.build(hidden=True), tiny.images()
    a, g = tiny.gradients(model, x, label)
    found = cams.get("eigengradcam", model, "maps")(x, label)
    np.testing.assert_allclose(found, tiny.min_max(svd(a * g)), atol=2e-3)
