import numpy as np
import pytest

from fcam_tf.compat.utils import unary_from_labels, unary_from_softmax


def test_energies_of_labels():
    got = unary_from_labels(np.array([[0, 1], [3, 2]]), 3, 0.6)
    third = 1 / 3
    expected = [[third, 0.6, 0.2, 0.2], [third, 0.2, 0.2, 0.6], [third, 0.2, 0.6, 0.2]]
    np.testing.assert_allclose(np.exp(-got), expected, rtol=1e-6)
    assert got.dtype == np.float32
    got = unary_from_labels([1, 0], 2, 0.9, zero_unsure=False)
    np.testing.assert_allclose(np.exp(-got), [[0.1, 0.9], [0.9, 0.1]], rtol=1e-6)


def test_energies_of_probabilities():
    maps = np.array([[[1.0, 0.25]], [[0.0, 0.75]]])
    got = unary_from_softmax(maps)
    np.testing.assert_allclose(got, -np.log([[1, 0.25], [1e-5, 0.75]]), rtol=1e-6)
    assert got.dtype == np.float32
    got = unary_from_softmax(maps, scale=0.8, clip=None)
    np.testing.assert_allclose(np.exp(-got), [[0.9, 0.3], [0.1, 0.7]], rtol=1e-6)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"`gt_prob`.*1\.0"):
        unary_from_labels([0], 2, 1.0)
    with pytest.raises(ValueError, match="`n_labels`"):
        unary_from_labels([0], 1, 0.5)
    with pytest.raises(ValueError, match=r"0 to 2.*0 to 3"):
        unary_from_labels([0, 3], 2, 0.5)
    with pytest.raises(ValueError, match=r"0 to 1.*-1 to 1"):
        unary_from_labels([-1, 1], 2, 0.5, zero_unsure=False)
    with pytest.raises(ValueError, match="`scale`"):
        unary_from_softmax(np.ones((2, 1)), scale=0)
