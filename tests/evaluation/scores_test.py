import dataclasses

import numpy as np
import pytest

from fcam_tf import metrics
from fcam_tf.evaluation.scores import read_truth, score_map
from fcam_tf.metrics.max_box_acc import BoxCurve


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    maps = [rng.random((40, 40)) * scale for scale in (1, 0.5, 0)]
    masks = [(rng.random((40, 40)) < 0.3).astype(np.uint8) for _ in maps]
    masks[1][:5] = 255
    boxes = [np.array([[3, 4, 20, 30]]), np.array([[0, 0, 9, 9], [20, 20, 39, 39]])]
    return maps, masks, [*boxes, np.array([[0, 0, 0, 0]])]


def test_metrics_counted_from_scores_equal_those_of_the_maps(batch):
    maps, masks, boxes = batch
    scores = [
        score_map(m, {"boxes": box, "mask": mask}, "x")
        for m, mask, box in zip(maps, masks, boxes, strict=True)
    ]
    labels, logits = [0, 1, 2], np.eye(3)[[0, 2, 2]]
    for kind in (metrics.MaxBoxAcc, metrics.MaxBoxAccV2, metrics.MaxBoxAccV3):
        want, got = kind(), kind()
        want.update_state(maps, boxes, labels, logits)
        curves = [BoxCurve(s.kept[want.name], int(s.levels.max()), s.otsu) for s in scores]
        got.update_curves(curves, [0, 1, 0])
        assert got.details() == want.details()
    want, got = metrics.PxAP(), metrics.PxAP()
    want.update_state(maps, masks)
    got.update_histograms([s.kept["PxAP"] for s in scores])
    assert (got.result(), got.details()) == (want.result(), want.details())


def test_boxes_are_those_of_the_largest_contour(batch):
    maps, _, boxes = batch
    scores = score_map(maps[1], {"boxes": boxes[1]}, "x")
    assert "PxAP" not in scores.kept
    peak = int(scores.levels.max())
    for tau in (0.0, 0.3, 0.9):
        want = metrics.boxes_from_map(maps[1], tau)
        assert [scores.boxes[int(tau * peak)].tolist()] == want.tolist()


def test_activation_is_a_histogram_of_the_unit_interval():
    heatmap = np.array([[0, 0.0005, 0.25, 1.0]])
    activation = score_map(heatmap, {"mask": np.zeros((1, 4), np.uint8)}, "x").activation
    want, _ = np.histogram(heatmap, np.append(metrics.threshold_grid(), 1.0))
    np.testing.assert_array_equal(activation, want / 4)
    assert activation[-1] == 0.25


@pytest.mark.parametrize(
    ("value", "says"),
    [(np.nan, "contains NaN"), (1.5, r"must lie in \[0, 1\]"), (-0.1, r"must lie in \[0, 1\]")],
)
def test_a_bad_map_names_its_image(value, says):
    with pytest.raises(ValueError, match=rf"the map of a/b\.jpg {says}"):
        score_map(np.full((4, 4), value), {"boxes": np.array([[0, 0, 1, 1]])}, "a/b.jpg")


def test_boxes_and_masks_come_into_the_frame(split):
    truth = read_truth(split, 0, 224)
    assert truth["mask"].shape == (224, 224)
    rows, columns = np.nonzero(truth["mask"] == 1)
    x0, y0 = truth["boxes"][:, 0].min(), truth["boxes"][:, 1].min()
    assert abs(columns.min() - x0) <= 5
    assert abs(rows.min() - y0) <= 5


def test_a_box_is_truncated(split):
    # 4 * 224 / 35 = 25.6 and 2 * 224 / 10 = 44.8 (the reference's resize_bbox truncates).
    boxes = (np.array([[1, 2, 4, 3]]),)
    one = dataclasses.replace(split.subset([0]), boxes=boxes, sizes=np.array([[35, 10]]))
    assert read_truth(one, 0, 224)["boxes"].tolist() == [[6, 44, 25, 67]]


def test_a_box_that_is_none_names_its_image(split):
    boxes = (np.array([[9, 2, 4, 3]]),)
    with pytest.raises(ValueError, match=f"ground truth of {split.ids[0]}"):
        read_truth(dataclasses.replace(split.subset([0]), boxes=boxes), 0, 224)
