import dataclasses

import numpy as np
import pytest

from fcam_tf import metrics
from fcam_tf.evaluation.rows import Row, kind_of_boxes, kind_of_pixels, make_row
from fcam_tf.evaluation.scores import read_truth, score_map

ONE = [[0, 0, 9, 9]]  # 100 pixels
TWO = [[0, 0, 9, 9], [20, 0, 29, 9]]


def test_a_row_by_hand(split):
    truth = read_truth(split, 0, 224)
    heatmap = np.zeros((224, 224))
    x0, y0, x1, y1 = truth["boxes"][0]
    heatmap[y0:y1, x0:x1] = 0.8  # so that the box, one past the last pixel, is the true one
    heatmap[0, 0] = 0.4
    item = score_map(heatmap, truth, "x", rank=2, predicted=4, confidence=0.25)
    row = make_row(item, split, box_threshold=0.6, mask_threshold=0.5)
    assert (row.id, row.label) == (split.ids[0], split.labels[0])
    assert (row.rank, row.predicted, row.confidence) == (2, 4, 0.25)
    assert [row.x0, row.y0, row.x1, row.y1] == [x0, y0, x1, y1]
    assert row.iou == row.best_iou == row.otsu_iou == 1
    assert row.kind == "wrong class"
    inside = (heatmap >= 0.5) & (truth["mask"] != 255)
    wanted = truth["mask"] == 1
    assert row.mask_iou == pytest.approx((inside & wanted).sum() / (inside | wanted).sum())
    one = metrics.PxAP()
    one.update_state([heatmap], [truth["mask"]])
    assert row.pixel_ap == one.result()
    assert row.quality == 1

    without = make_row(
        dataclasses.replace(item, rank=-1, predicted=-1, confidence=np.nan), split, None, 0.5
    )
    nothing = (without.iou, without.x0, without.rank, without.predicted, without.confidence)
    assert nothing == (None,) * 5
    assert without.quality == row.mask_iou


def test_a_row_survives_the_file(finished):
    for row in finished.rows:
        texts = {k: "" if v is None else str(v) for k, v in dataclasses.asdict(row).items()}
        assert Row.parse(texts) == row
    assert {type(getattr(finished.rows[0], name)) for name in ("x0", "label")} == {int}
    assert finished.rows[0].rank is None


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
        ((75, 57, 25), "too large"),  # more than half of it inside, as well
        ((40, 60, 60), "wrong place"),
    ],
)
def test_pixels(counts, kind):
    assert kind_of_pixels(*counts, peak=200, rank=0) == kind
