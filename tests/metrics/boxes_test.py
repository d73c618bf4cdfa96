import numpy as np
import pytest
import wsol_oracle as oracle

from fcam_tf.metrics import InvalidBoxError, box_iou, boxes_from_map, resize_boxes


def test_box_ends_one_past_the_object_unless_clipped():
    heatmap = np.zeros((10, 12))
    heatmap[2:5, 3:7] = 1
    assert boxes_from_map(heatmap, 0.5).tolist() == [[3, 2, 7, 5]]
    heatmap[:] = 1
    assert boxes_from_map(heatmap, 0.5).tolist() == [[0, 0, 11, 9]]


def test_threshold_is_strict_relative_and_in_8_bits():
    heatmap = np.zeros((4, 8))
    heatmap[1, 1], heatmap[1, 4] = 0.5, 0.25  # 127 and 63 of 255
    assert len(boxes_from_map(heatmap, 62.5 / 127, multiple=True)) == 2
    assert len(boxes_from_map(heatmap, 63.5 / 127, multiple=True)) == 1


@pytest.mark.parametrize("value", [0.0, 1 / 256])
def test_nothing_to_box_gives_the_default_box(value):
    for multiple in (False, True):
        assert boxes_from_map(np.full((5, 5), value), 0.2, multiple).tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_float_is_taken(dtype):
    heatmap = np.zeros((6, 6), dtype)
    heatmap[2, 2:4] = 1
    assert boxes_from_map(heatmap, 0).tolist() == [[2, 2, 4, 3]]


@pytest.mark.parametrize("multiple", [False, True])
def test_equals_the_oracle_at_single_thresholds(multiple):
    rng = np.random.default_rng(3)
    for _ in range(20):
        heatmap = rng.random(rng.integers(5, 40, 2)) * rng.random()
        threshold = rng.random()
        want = oracle.boxes_at(heatmap, threshold, multiple).tolist()
        assert boxes_from_map(heatmap, threshold, multiple).tolist() == sorted(want)


@pytest.mark.parametrize(
    ("heatmap", "error", "says"),
    [
        ([[0.5]], TypeError, "numpy.asarray"),
        (np.zeros((2, 2), np.uint8), TypeError, "255.0"),
        (np.zeros((2, 2, 1)), ValueError, "(height, width)"),
        (np.zeros((0, 3)), ValueError, "(height, width)"),
        (np.full((3, 3), np.nan), ValueError, "9 of 9"),
        (np.full((3, 3), 1.5), ValueError, "1.5"),
        (np.full((3, 3), -0.1), ValueError, "-0.1"),
    ],
)
def test_bad_maps_are_refused(heatmap, error, says):
    with pytest.raises(error, match="heatmap") as caught:
        boxes_from_map(heatmap, 0.2)
    assert says in str(caught.value)


@pytest.mark.parametrize("threshold", [-0.1, 1, float("nan")])
def test_bad_thresholds_are_refused(threshold):
    with pytest.raises(ValueError, match="`threshold` must be in"):
        boxes_from_map(np.ones((2, 2)), threshold)


def test_iou_counts_pixels_inclusively():
    assert box_iou([[1, 2, 5, 6]], [[3, 1, 4, 5]])[0, 0] == pytest.approx(8 / 27)
    assert box_iou([[0, 0, 0, 0]], [[0, 0, 0, 0]])[0, 0] == 1
    assert box_iou([[0, 0, 1, 1]], [[2, 0, 3, 1]])[0, 0] == 0
    assert box_iou(np.zeros((3, 4)), np.zeros((5, 4))).shape == (3, 5)


def test_iou_of_unsigned_boxes_does_not_wrap_around():
    far = np.array([[0, 0, 1, 1]], np.uint8), np.array([[200, 200, 210, 210]], np.uint8)
    assert box_iou(*far)[0, 0] == 0


@pytest.mark.parametrize(
    "box", [[1, 1, 0, 0], [-1, 0, 2, 2], [0, 0, 1], [0, 0, 1, 1, 1], [0, 0, np.nan, 1]]
)
def test_bad_boxes_are_refused(box):
    for function in (
        lambda: box_iou([box], [[0, 0, 1, 1]]),
        lambda: resize_boxes([box], (10, 10), (5, 5)),
    ):
        with pytest.raises(InvalidBoxError, match="x0"):
            function()
    assert issubclass(InvalidBoxError, ValueError)
    assert issubclass(InvalidBoxError, RuntimeError)


def test_resize_truncates():
    assert resize_boxes([[1, 2, 4, 3]], (10, 20), (35, 10)).tolist() == [[3, 1, 14, 1]]
    with pytest.raises(ValueError, match="`size` must be positive"):
        resize_boxes([[1, 2, 4, 3]], (0, 20), (35, 10))
