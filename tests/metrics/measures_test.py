import numpy as np
import pytest
import wsol_oracle as oracle
from hypothesis import given
from hypothesis import strategies as st

from fcam_tf import metrics
from fcam_tf.metrics import MEASURES, threshold_grid
from fcam_tf.metrics.measures import HeatMap, grey_thresholds, score_histogram


@pytest.mark.parametrize(("name", "multiple"), [("MaxBoxAcc", False), ("MaxBoxAccV2", True)])
def test_best_iou_equals_the_oracle(name, multiple):
    rng = np.random.default_rng(1)
    for scale in (1.0, 0.3, 0.0):
        heatmap = rng.random((18, 25)) * scale
        boxes = np.array([[2, 3, 12, 15], [0, 0, 4, 4]])
        thresholds = threshold_grid(0.01)
        want = oracle.best_iou_curve(heatmap, boxes, thresholds, multiple)
        found = HeatMap(heatmap)
        curve = MEASURES[name].of(found, boxes)[grey_thresholds(found.peak, thresholds), 0]
        np.testing.assert_allclose(curve, want)


def test_grid_is_numpy_s_arange():
    assert threshold_grid().size == 1000
    assert threshold_grid(0.004).size == 250
    assert threshold_grid(0.3).tolist() == [0, 0.3, 0.6, 0.8999999999999999]
    with pytest.raises(ValueError, match="interval"):
        threshold_grid(1.5)


@given(st.floats(0.0007, 1), st.integers(0, 2**32 - 1))
def test_histogram_equals_numpy_at_and_beside_the_edges(interval, seed):
    grid = threshold_grid(interval)
    rng = np.random.default_rng(seed)
    edges = rng.choice(np.append(grid, 1.0), (3, 20))
    edges[0] = np.nextafter(edges[0], 0)
    edges[1] = np.nextafter(edges[1], 1)
    scores = np.clip(np.concatenate([edges.ravel(), rng.random(40)]), 0, 1).reshape(10, 10)
    truth = rng.choice([0, 1, 255], scores.shape)
    bins = np.append(grid, [1, 2])
    want = [np.histogram(scores[truth == kind], bins)[0] for kind in (0, 1)]
    np.testing.assert_array_equal(score_histogram(scores, truth, grid), want)


def test_large_maps_are_counted_in_pieces():
    rng = np.random.default_rng(0)
    scores, truth = rng.random((300, 211)), rng.choice([0, 1, 255], (300, 211))
    want = [
        np.histogram(scores[truth == k], np.append(threshold_grid(), [1, 2]))[0] for k in (0, 1)
    ]
    np.testing.assert_array_equal(score_histogram(scores, truth, threshold_grid()), want)


def test_each_measure_is_a_metric_of_its_name():
    for name in metrics.MEASURES:
        assert getattr(metrics, name)().name == name
