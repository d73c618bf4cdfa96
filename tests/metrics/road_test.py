import numpy as np
import pytest

from fcam_tf import metrics


def slow_imputation(image, hidden):
    """The means of all neighbours, repeated until nothing changes."""
    found = np.where(hidden[..., None], 0.0, image)
    height, width = hidden.shape
    for _ in range(4000):
        before = found.copy()
        for y, x in zip(*np.nonzero(hidden), strict=True):
            total, weights = 0.0, 0.0
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    if (dy or dx) and 0 <= y + dy < height and 0 <= x + dx < width:
                        weight = 1 / 12 if dy and dx else 1 / 6
                        total, weights = total + weight * found[y + dy, x + dx], weights + weight
            found[y, x] = total / weights
        if np.abs(found - before).max() < 1e-9:
            return found
    raise AssertionError("does not settle")


def test_imputation_equals_repeated_means():
    rng = np.random.default_rng(0)
    image, hidden = rng.uniform(0, 255, (6, 7, 3)), rng.random((6, 7)) < 0.6
    hidden[0, 0] = hidden[3:6, 2:5] = True
    got = metrics.noisy_linear_imputation(image, hidden, noise=0)
    np.testing.assert_allclose(got, slow_imputation(image, hidden), atol=1e-3)
    np.testing.assert_array_equal(got[~hidden], image[~hidden].astype(np.float32))


def test_one_hidden_pixel_by_hand():
    image = np.arange(9.0).reshape(3, 3, 1) ** 2
    hidden = np.zeros((3, 3), bool)
    hidden[1, 1] = True
    got = metrics.noisy_linear_imputation(image, hidden, noise=0)[1, 1, 0]
    assert got == pytest.approx((1 + 9 + 25 + 49) / 6 + (0 + 4 + 36 + 64) / 12)


def test_noise_is_of_its_seed_and_only_where_something_was_hidden():
    image, hidden = np.full((20, 20, 3), 100.0), np.zeros((20, 20), bool)
    hidden[5:15] = True
    one, same, other = (metrics.noisy_linear_imputation(image, hidden, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other)[hidden].all()
    assert (one[~hidden] == 100).all()
    assert one[hidden].std() == pytest.approx(2.55, rel=0.1)
    assert (metrics.noisy_linear_imputation(image, hidden * False) == image).all()


def test_imputation_refuses_what_leaves_nothing():
    with pytest.raises(ValueError, match=r"\(2, 2\) for an image of \(2, 2, 1\), 100% hidden"):
        metrics.noisy_linear_imputation(np.ones((2, 2, 1)), np.ones((2, 2), bool))


def test_curves_by_hand():
    # A bright pixel on black that the class is all about; noise is a hundredth of the range.
    image = np.zeros((1, 10, 10, 1))
    image[0, 4, 4] = 255
    heatmap = image[..., 0] / 255

    def scores(images, labels):
        assert images.shape == (32, 10, 10, 1)
        del labels
        return np.clip(images[:, 4, 4, 0] / 255, 0, 1)

    morf, lerf = metrics.road_curves(scores, image, heatmap, [0], fractions=[0.01, 0.5])
    np.testing.assert_allclose(morf, 0, atol=0.05)
    np.testing.assert_allclose(lerf, 1)
    assert metrics.road_score(morf, lerf) == pytest.approx(0.5, abs=0.03)
    with pytest.raises(ValueError, match="`fractions` must lie in"):
        metrics.road_curves(scores, image, heatmap, [0], fractions=[1.0])


def test_imputation_equals_that_of_quantus():
    perturbation = pytest.importorskip("quantus.functions.perturb_func")
    rng = np.random.default_rng(3)
    image, hidden = rng.uniform(0, 1, (12, 12, 3)), rng.random((12, 12)) < 0.5
    hidden[:3, :3] = True
    indices = np.flatnonzero(hidden)
    theirs = perturbation.noisy_linear_imputation(np.moveaxis(image, -1, 0), indices, noise=0.0)
    ours = metrics.noisy_linear_imputation(image, hidden, noise=0)
    np.testing.assert_allclose(ours, np.moveaxis(theirs, 0, -1), atol=1e-5)
