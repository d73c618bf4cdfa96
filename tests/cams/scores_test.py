import numpy as np
import pytest

from fcam_tf.cams import scores

ROWS = np.float32([[1, -2, 4], [0, 3, 5]])
PIXELS = np.arange(2 * 2 * 3 * 2, dtype="float32").reshape(2, 2, 3, 2)


def test_scores_by_hand():
    np.testing.assert_array_equal(scores.binary_logit()(ROWS[:, :1]), [1, 0])
    np.testing.assert_array_equal(scores.binary_logit(positive=False)(ROWS[:, 0]), [-1, 0])
    np.testing.assert_array_equal(scores.difference(2, 1)(ROWS), [6, 2])
    np.testing.assert_array_equal(scores.value(1)(ROWS), [-2, 3])
    np.testing.assert_allclose(
        scores.similarity([3, 0, 4])(ROWS), [19 / 5 / 21**0.5, 20 / 5 / 34**0.5], rtol=1e-5
    )


def test_mean_over_a_region():
    region = np.array([[True, False, False], [False, False, True]])
    np.testing.assert_allclose(scores.region_mean(1)(PIXELS), [6, 18])
    np.testing.assert_allclose(scores.region_mean(1, region)(PIXELS), [(1 + 11) / 2, (13 + 23) / 2])
    each = np.stack([region, ~region * 2.0])  # weights, and another region of each image
    np.testing.assert_allclose(
        scores.region_mean(0, each)(PIXELS), [(0 + 10) / 2, (14 + 16 + 18 + 20) / 4]
    )


@pytest.mark.parametrize(
    ("score", "outputs", "message"),
    [
        (scores.binary_logit(), ROWS, r"one value \(B, 1\). Received: shape \(2, 3\)"),
        (scores.difference(0, 3), ROWS, r"n above 3.*\(2, 3\)"),
        (scores.value(), [ROWS, ROWS], r"shape \(\).*`output=` names one"),
        (scores.region_mean(0), ROWS, r"outputs \(B, H, W, classes\)"),
        (scores.region_mean(2), PIXELS, r"with class 2.*\(2, 2, 3, 2\)"),
        (scores.region_mean(0, np.ones((3, 3))), PIXELS, r"size of the outputs, \(2, 3\)"),
        (scores.similarity([1.0, 2.0]), ROWS, r"`embedding` must have the size.*\(2, 3\)"),
    ],
)
def test_outputs_of_another_shape(score, outputs, message):
    with pytest.raises(ValueError, match=message):
        score(outputs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: scores.value(-1), "`index` must be 0 or more"),
        (lambda: scores.difference(0, -1), "`other` must be 0 or more"),
        (lambda: scores.region_mean(0, np.zeros((2, 2))), "`region` must contain a pixel"),
        (lambda: scores.region_mean(0, [[1, -1]]), r"`region` must be.*in \[-1"),
        (lambda: scores.similarity([0, 0]), "`embedding` must be"),
    ],
)
def test_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
