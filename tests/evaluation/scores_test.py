import numpy as np
import pytest

from fcam_tf import metrics
from fcam_tf.evaluation.scores import score_map
from fcam_tf.evaluation.truth import Truth
from fcam_tf.metrics.curves import BoxCurve


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
        score_map(m, Truth(box, mask), "x") for m, mask, box in zip(maps, masks, boxes, strict=True)
    ]
    labels, logits = [0, 1, 2], np.eye(3)[[0, 2, 2]]
    fields = {
        "iou": metrics.MaxBoxAcc,
        "iou_any": metrics.MaxBoxAccV2,
        "iou_each": metrics.MaxBoxAccV3,
    }
    for field, kind in fields.items():
        want, got = kind(), kind()
        want.update_state(maps, boxes, labels, logits)
        got.update_curves(
            [
                BoxCurve(getattr(s, field).reshape(256, -1), int(s.levels.max()), s.otsu)
                for s in scores
            ],
            [0, 1, 0],
        )
        assert got.details() == want.details()
    want, got = metrics.PxAP(), metrics.PxAP()
    want.update_state(maps, masks)
    got.update_histograms([s.histogram for s in scores])
    assert (got.result(), got.details()) == (want.result(), want.details())


def test_boxes_are_those_of_the_largest_contour(batch):
    maps, _, boxes = batch
    scores = score_map(maps[1], Truth(boxes[1], None), "x")
    assert scores.histogram is None
    peak = int(scores.levels.max())
    for tau in (0.0, 0.3, 0.9):
        want = metrics.boxes_from_map(maps[1], tau)
        assert [scores.boxes[int(tau * peak)].tolist()] == want.tolist()


def test_activation_is_a_histogram_of_the_unit_interval():
    heatmap = np.array([[0, 0.0005, 0.25, 1.0]])
    activation = score_map(heatmap, Truth(None, np.zeros((1, 4), np.uint8)), "x").activation
    want, _ = np.histogram(heatmap, np.append(metrics.threshold_grid(), 1.0))
    np.testing.assert_array_equal(activation, want / 4)
    assert activation[-1] == 0.25


@pytest.mark.parametrize(
    ("value", "says"),
    [(np.nan, "holds NaN"), (1.5, r"must lie in \[0, 1\]"), (-0.1, r"must lie in \[0, 1\]")],
)
def test_a_bad_map_names_its_image(value, says):
    with pytest.raises(ValueError, match=rf"the map of a/b\.jpg {says}"):
        score_map(np.full((4, 4), value), Truth(np.array([[0, 0, 1, 1]]), None), "a/b.jpg")
