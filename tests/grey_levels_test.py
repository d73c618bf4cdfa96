import numpy as np
import pytest

from fcam_tf.grey_levels import otsu, to_levels


def level(levels):
    return otsu(np.bincount(levels.ravel()))


def test_levels_are_truncated():
    assert to_levels(np.array([0, 0.999 / 255, 1 / 255, 0.5, 1])).tolist() == [0, 0, 1, 127, 255]


@pytest.mark.parametrize("empty", [0, 3])
def test_empty_bins_at_the_ends_do_not_count(empty):
    around = np.zeros(empty, int)
    counts = np.concatenate([around, [5, 1, 4], around])
    assert otsu(counts) - empty == otsu(np.array([5, 1, 4]))


def test_otsu_of_two_levels_separates_them():
    levels = np.array([[10, 10, 10, 200]], np.uint8)
    assert 10 <= level(levels) < 200
    assert level(np.full((2, 2), 33, np.uint8)) == 33


def test_otsu_of_a_gaussian():
    # Golden value: an isotropic Gaussian, sigma 40, centre x = 112, y = 90, min-max normalised.
    y, x = np.mgrid[:224, :224]
    bump = np.exp(-((x - 112) ** 2 + (y - 90) ** 2) / (2 * 40**2))
    bump = (bump - bump.min()) / (bump.max() - bump.min())
    levels = (255 * bump).astype(np.uint8)
    assert level(levels) == 89
    assert (levels > 89).sum() == 10477
