import inspect
import json

import keras
import numpy as np
import pytest
import wsol_oracle as oracle

from fcam_tf import metrics
from fcam_tf.metrics import MaxBoxAcc, MaxBoxAccV2, MaxBoxAccV3
from tests.backends import output_under, under_others

# Of the six images of a batch: the true class is predicted first, second, third...
LABELS = np.arange(6)
LOGITS = -np.tile(np.arange(6.0), (6, 1))


def square(value=1.0, box=(4, 4, 12, 12), size=20):
    """A map that is ``value`` in [x0, x1) x [y0, y1): its predicted box is ``box``."""
    heatmap = np.zeros((size, size))
    x0, y0, x1, y1 = box
    heatmap[y0:y1, x0:x1] = value
    return heatmap


def check_equal(a, b):
    for top in (None, 1, 5):
        np.testing.assert_allclose(a.curves(top), b.curves(top), rtol=1e-12)
    mine, theirs = a.details(), b.details()
    assert mine.keys() == theirs.keys()
    for key, value in mine.items():
        np.testing.assert_allclose(value, theirs[key], rtol=1e-12)
    assert a.result() == b.result()


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    maps, boxes = [], []
    for i in range(6):
        size = rng.integers(20, 40, 2)
        maps.append(metrics.normalize_cam(rng.random((5, 5)), tuple(size)) if i else square())
        low = rng.integers(0, 10, (1 + i % 3, 2))
        boxes.append(np.concatenate([low, low + rng.integers(3, 10, low.shape)], axis=1))
    return maps, boxes


@pytest.mark.parametrize("multiple", [False, True])
def test_equals_the_oracle(batch, multiple):
    deltas = (0.1, 0.3, 0.5)
    metric = MaxBoxAcc(deltas, multiple=multiple, interval=0.01)
    metric.update_state(*batch)
    want = oracle.box_accuracy(*batch, metric.thresholds, multiple, deltas)
    np.testing.assert_allclose(metric.curves(), want)
    assert 0 < want.max() < 100
    assert metric.result() == pytest.approx(want.max(axis=1).mean())


def test_v2_is_all_contours_at_three_ious(batch):
    v2, same = MaxBoxAccV2(0.02), MaxBoxAcc((0.3, 0.5, 0.7), multiple=True, interval=0.02)
    for metric in (v2, same):
        metric.update_state(*batch)
    assert v2.result() == same.result()


def test_order_and_batches_do_not_matter(batch):
    maps, boxes = batch
    whole, parts = MaxBoxAccV2(0.01), MaxBoxAccV2(0.01)
    whole.update_state(maps, boxes, LABELS, LOGITS)
    for i in reversed(range(len(maps))):
        one = slice(i, i + 1)
        parts.update_state(maps[one], boxes[one], LABELS[one], LOGITS[one])
    check_equal(whole, parts)


def test_merge_equals_one_metric(batch):
    maps, boxes = batch
    whole, a, b = (MaxBoxAccV2(0.01, name=name) for name in "xyz")
    whole.update_state(maps, boxes, LABELS, LOGITS)
    a.update_state(maps[:2], boxes[:2], LABELS[:2], LOGITS[:2])
    b.update_state(maps[2:], boxes[2:], LABELS[2:], LOGITS[2:])
    a.merge_state([b])
    check_equal(a, whole)
    with pytest.raises(ValueError, match="cannot merge"):
        a.merge_state([MaxBoxAccV2(0.02)])
    with pytest.raises(ValueError, match="cannot merge"):
        a.merge_state([MaxBoxAccV3(0.01)])


def test_reset_and_config():
    metric = MaxBoxAcc((0.3, 0.6), multiple=True, interval=0.1, name="mine")
    metric.update_state([square()], [[[4, 4, 12, 12]]])
    assert metric.result() == 100
    before = metric.details()
    metric.reset_state()
    with pytest.raises(RuntimeError, match="no images"):
        metric.result()
    metric.update_state([square()], [[[4, 4, 12, 12]]])
    assert metric.details() == before
    for original in (metric, MaxBoxAccV2(0.1), MaxBoxAccV3(0.1)):
        copy = keras.metrics.deserialize(keras.metrics.serialize(original))
        assert type(copy) is type(original)
        assert copy.get_config() == original.get_config()


def test_each_iou_has_its_own_lowest_best_threshold():
    # Above 0.5 the map shows its core, below that the whole square.
    heatmap = square(0.5, (2, 2, 18, 18)) + square(0.5, (8, 8, 11, 11))
    metric = MaxBoxAcc((0.9,), interval=0.1)
    metric.update_state([heatmap], [[[8, 8, 11, 11]]])
    assert metric.result() == 100
    assert metric.best_thresholds().tolist() == [pytest.approx(0.5)]
    assert metric.accuracy_at(0.2).tolist() == [0]
    assert metric.accuracy_at([0.5]).tolist() == [100]
    assert metric.accuracy_at(0.501).tolist() == [100]
    for bad in (1.0, -0.1, [0.1, 0.2]):
        with pytest.raises(ValueError, match="`thresholds` must be one value"):
            metric.accuracy_at(bad)


def test_top_k_counts_only_images_with_the_class_among_the_first():
    maps, boxes = [square()] * 3, [[[4, 4, 12, 12]]] * 3
    logits = np.zeros((3, 10))
    logits[0, 7] = 1  # first
    logits[1, :4] = 1  # fifth of equal scores: four above, and 4 comes first of the rest
    metric = MaxBoxAcc(interval=0.1)
    metric.update_state(maps, boxes, labels=[7, 4, 9], logits=logits)
    assert metric.result() == 100
    assert metric.curves(1).max() == pytest.approx(100 / 3)
    assert metric.curves(5).max() == pytest.approx(200 / 3)
    assert metric.details()["top5"] == [pytest.approx(200 / 3)]


def test_scores_may_be_unsigned():
    metric = MaxBoxAcc(interval=0.1)
    logits = np.array([[0, 200, 100]], np.uint8)
    metric.update_state([square()], [[[4, 4, 12, 12]]], labels=[1], logits=logits)
    assert metric.curves(1).max() == 100


def test_top_k_needs_predictions_for_all():
    metric = MaxBoxAcc(interval=0.1)
    metric.update_state([square()], [[[4, 4, 12, 12]]])
    assert metric.details()["top1"] is None
    with pytest.raises(RuntimeError, match="labels and logits"):
        metric.curves(1)
    metric.update_state([square()], [[[4, 4, 12, 12]]], labels=[0], logits=[[1.0, 0]])
    with pytest.raises(RuntimeError, match="1 of 2"):
        metric.details()


def test_otsu_and_peak_iou():
    metric = MaxBoxAcc((0.5,), interval=0.1)
    flat = np.full((20, 20), 0.5)  # no foreground at Otsu's threshold
    metric.update_state([square(), flat], [[[4, 4, 12, 12]], [[0, 0, 19, 19]]])
    details = metric.details()
    assert details["accuracy"] == [100]
    assert details["otsu"] == [50]
    assert details["peak_iou"] == 100
    assert details["count"] == 2
    json.dumps(details)


def test_v3_counts_instances_and_punishes_merging():
    left, right = (1, 1, 6, 6), (11, 11, 17, 17)
    both = square(1, left) + square(1, right)
    v2, v3 = MaxBoxAccV2(0.1), MaxBoxAccV3(0.1)
    for metric in (v2, v3):
        metric.update_state([both], [[left, right]])
        assert metric.result() == 100
    one = square(1, left)
    v2, v3 = MaxBoxAccV2(0.1), MaxBoxAccV3(0.1)
    for metric in (v2, v3):
        metric.update_state([one, both], [[left, right], [left, right]])
    assert v2.result() == 100
    assert v3.result() == 75
    assert v3.details()["count"] == 4


def test_v3_equals_greedy_matching(batch):
    maps, boxes = batch
    metric = MaxBoxAccV3(0.05)
    metric.update_state(maps, boxes)
    for k, threshold in enumerate(metric.thresholds):
        matched = np.concatenate(
            [
                oracle.greedy_iou(oracle.iou(oracle.boxes_at(m, threshold, True), truth))
                for m, truth in zip(maps, boxes, strict=True)
            ]
        )
        want = [100 * np.mean(matched >= delta) for delta in (0.3, 0.5, 0.7)]
        np.testing.assert_allclose(metric.curves()[:, k], want)


def test_a_refused_image_is_named_and_nothing_of_its_batch_counts():
    metric = MaxBoxAcc(interval=0.1)
    good, box = square(), [[4, 4, 12, 12]]
    for maps, boxes, says in (
        ([good, np.full((4, 4), np.nan)], [box, box], "heatmap of cat.jpg contains NaN"),
        ([good, good], [box, np.zeros((0, 4))], "boxes of cat.jpg is empty"),
        ([good, good], [box, [[5, 5, 4, 4]]], "boxes of cat.jpg"),
        ([good, good], [box], "2 heatmaps, 1 boxes"),
    ):
        with pytest.raises(ValueError, match=says):
            metric.update_state(maps, boxes, ids=["dog.jpg", "cat.jpg"])
    with pytest.raises(RuntimeError, match="no images"):
        metric.result()


@pytest.mark.parametrize(
    ("labels", "logits", "says"),
    [
        ([0], None, "go together"),
        ([0, 1], [[0.0, 1.0]], "`labels` must have shape"),
        ([2], [[0.0, 1.0]], r"in \[0, 2\)"),
        ([0], [[np.nan, 1.0]], "NaN or infinity"),
    ],
)
def test_bad_predictions_are_refused(labels, logits, says):
    with pytest.raises(ValueError, match=says):
        MaxBoxAcc(interval=0.1).update_state([square()], [[[0, 0, 1, 1]]], labels, logits)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="iou_thresholds"):
        MaxBoxAcc((50,))
    with pytest.raises(ValueError, match="interval"):
        MaxBoxAccV2(interval=0)


def test_tensors_of_any_float_type_are_taken():
    heatmaps = np.stack([square(), square(0.5)])
    for dtype in ("float32", "bfloat16"):
        metric = MaxBoxAcc(interval=0.1)
        metric.update_state(
            keras.ops.convert_to_tensor(heatmaps, dtype),
            keras.ops.convert_to_tensor([[[4, 4, 12, 12]]] * 2),
            labels=keras.ops.convert_to_tensor([0, 1]),
            logits=keras.ops.convert_to_tensor([[1.0, 0.0], [1.0, 0.0]]),
        )
        assert metric.result() == 100
        assert metric.curves(1).max() == 50


@pytest.mark.slow
@under_others
def test_tensors_of_other_backends_are_taken(backend):
    check = test_tensors_of_any_float_type_are_taken
    code = (
        "import keras, numpy as np\nfrom fcam_tf.metrics import MaxBoxAcc\n"
        f"{inspect.getsource(square)}\n{inspect.getsource(check)}\n{check.__name__}()"
    )
    output_under(backend, code)
