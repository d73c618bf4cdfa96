import dataclasses

import numpy as np
import pytest

from fcam_tf import metrics
from fcam_tf.evaluation.rows import Row, make_row
from fcam_tf.evaluation.scores import read_truth, score_map


def test_a_row_by_hand(split):
    truth = read_truth(split, 0, 224)
    heatmap = np.zeros((224, 224))
    x0, y0, x1, y1 = truth.boxes[0]
    heatmap[y0:y1, x0:x1] = 0.8  # so that the box, one past the last pixel, is the true one
    heatmap[0, 0] = 0.4
    item = score_map(heatmap, truth, "x", rank=2, predicted=4, confidence=0.25)
    row = make_row(item, split, box_threshold=0.6, mask_threshold=0.5)
    assert (row.id, row.label) == (split.ids[0], split.labels[0])
    assert (row.rank, row.predicted, row.confidence) == (2, 4, 0.25)
    assert [row.x0, row.y0, row.x1, row.y1] == [x0, y0, x1, y1]
    assert row.iou == row.best_iou == row.otsu_iou == 1
    assert row.kind == "wrong class"
    inside = (heatmap >= 0.5) & (truth.mask != 255)
    wanted = truth.mask == 1
    assert row.mask_iou == pytest.approx((inside & wanted).sum() / (inside | wanted).sum())
    one = metrics.PxAP()
    one.update_state([heatmap], [truth.mask])
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
