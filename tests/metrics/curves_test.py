import numpy as np
import pytest
import wsol_oracle as oracle

from fcam_tf.metrics import iou_curve, threshold_grid
from fcam_tf.metrics.curves import otsu_level


@pytest.mark.parametrize("multiple", [False, True])
def test_iou_curve_equals_the_oracle(multiple):
    rng = np.random.default_rng(1)
    for scale in (1.0, 0.3, 0.0):
        heatmap = rng.random((18, 25)) * scale
        boxes = [[2, 3, 12, 15], [0, 0, 4, 4]]
        thresholds = threshold_grid(0.01)
        want = oracle.best_iou_curve(heatmap, boxes, thresholds, multiple)
        np.testing.assert_allclose(iou_curve(heatmap, boxes, thresholds, multiple), want)


def test_grid_is_numpy_s_arange():
    assert threshold_grid().size == 1000
    assert threshold_grid(0.004).size == 250
    assert threshold_grid(0.3).tolist() == [0, 0.3, 0.6, 0.8999999999999999]
    with pytest.raises(ValueError, match="interval"):
        threshold_grid(1.5)


def test_otsu_of_two_levels_separates_them():
    levels = np.array([[10, 10, 10, 200]], np.uint8)
    assert 10 <= otsu_level(levels) < 200
    assert otsu_level(np.full((2, 2), 33, np.uint8)) == 33


def test_otsu_of_a_gaussian():
    # Golden value: an isotropic Gaussian, sigma 40, centre x = 112, y = 90, min-max normalised.
    y, x = np.mgrid[:224, :224]
    bump = np.exp(-((x - 112) ** 2 + (y - 90) ** 2) / (2 * 40**2))
    bump = (bump - bump.min()) / (bump.max() - bump.min())
    levels = (255 * bump).astype(np.uint8)
    assert otsu_level(levels) == 89
    assert (levels > 89).sum() == 10477
