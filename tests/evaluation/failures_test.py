import numpy as np
import pytest

from fcam_tf.evaluation.failures import kind_of_boxes, kind_of_pixels

ONE = [[0, 0, 9, 9]]  # 100 pixels
TWO = [[0, 0, 9, 9], [20, 0, 29, 9]]


@pytest.mark.parametrize(
    ("box", "truth", "rank", "kind"),
    [
        ([0, 0, 9, 4], ONE, 0, "found"),  # IoU 50 / 100
        ([0, 0, 9, 4], ONE, -1, "found"),
        ([0, 0, 9, 4], ONE, 1, "wrong class"),
        ([0, 0, 9, 3], ONE, 1, "too small"),  # IoU 0.4, all of it inside
        ([5, 0, 13, 5], ONE, 0, "too small"),  # 30 of 54 inside
        ([6, 0, 13, 9], ONE, 0, "wrong place"),  # 40 of 80 inside, 40 of 100 covered
        ([0, 0, 29, 9], ONE, 0, "too large"),  # all covered, IoU 1/3
        ([2, 0, 29, 9], ONE, 0, "too large"),  # 80 of 100 covered, 80 of 280 inside
        ([3, 0, 29, 9], ONE, 0, "wrong place"),  # 70 of 100 are not more than 0.7
        ([40, 40, 50, 50], ONE, 0, "wrong place"),
        ([0, 0, 29, 9], TWO, 0, "several instances"),  # IoU 1/3 with both
        ([0, 0, 22, 9], TWO, 0, "several instances"),  # 30 of the second's 100
        ([0, 0, 21, 9], TWO, 0, "too large"),
    ],
)
def test_boxes(box, truth, rank, kind):
    assert kind_of_boxes(np.array(box), np.array(truth), peak=255, rank=rank) == kind


def test_a_map_of_zeros_found_nothing():
    box = np.zeros(4, int)
    assert kind_of_boxes(box, np.array(ONE), peak=0, rank=0) == "nothing found"
    assert kind_of_pixels(0, 0, 100, peak=0, rank=0) == "nothing found"


@pytest.mark.parametrize(
    ("counts", "kind"),
    [
        ((50, 0, 50), "found"),
        ((40, 10, 60), "too small"),
        ((80, 100, 20), "too large"),
        ((40, 60, 60), "wrong place"),
    ],
)
def test_pixels(counts, kind):
    assert kind_of_pixels(*counts, peak=200, rank=0) == kind
