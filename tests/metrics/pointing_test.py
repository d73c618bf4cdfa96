import numpy as np
import pytest

from fcam_tf.metrics import pointing_game


def peak(y, x, size=40):
    heatmap = np.zeros((size, size))
    heatmap[y, x] = 1
    return heatmap


def test_tolerance_by_mask_and_by_box():
    mask = np.zeros((40, 40), np.uint8)
    mask[20:30, 20:30] = 1
    boxes = np.array([[20, 20, 29, 29]])
    for y, x, tolerance, hit in [
        (25, 25, 0, True),
        (25, 30, 0, False),
        (25, 30, 1, True),
        (5, 25, 15, True),
        (4, 25, 15, False),
        (17, 16, 5, True),  # 3 and 4 pixels from the corner
        (17, 16, 4.9, False),
    ]:
        assert pointing_game(peak(y, x), mask=mask, tolerance=tolerance) is hit
        assert pointing_game(peak(y, x), boxes=boxes, tolerance=tolerance) is hit


def test_the_mask_counts_where_there_are_both():
    mask = np.zeros((40, 40), np.uint8)
    mask[0, 0] = 1
    box = np.array([[30, 30, 39, 39]])
    assert pointing_game(peak(0, 0), mask=mask, boxes=box)
    assert not pointing_game(peak(39, 39), mask=mask, boxes=box)


def test_ignored_pixels_and_other_objects():
    ignored = np.full((40, 40), 255, np.uint8)
    assert not pointing_game(peak(3, 3), mask=ignored)
    two = np.array([[0, 0, 2, 2], [35, 35, 39, 39]])
    assert pointing_game(peak(36, 36), boxes=two, tolerance=0)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_constant_map_points_nowhere(value):
    assert not pointing_game(np.full((9, 9), value), mask=np.ones((9, 9), np.uint8))


def test_truth_must_be_given_and_fit():
    with pytest.raises(ValueError, match="`mask` or `boxes`"):
        pointing_game(peak(0, 0))
    with pytest.raises(ValueError, match=r"`mask` must have shape \(40, 40\)"):
        pointing_game(peak(0, 0), mask=np.ones((3, 3)))
