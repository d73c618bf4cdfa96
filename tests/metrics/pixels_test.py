import inspect
import json

import keras
import numpy as np
import pytest
import wsol_oracle as oracle
from hypothesis import given
from hypothesis import strategies as st

from fcam_tf.metrics import PxAP, normalize_cam
from tests.backends import output_under, under_others


def random_images(count=4, seed=0):
    rng = np.random.default_rng(seed)
    maps = [normalize_cam(rng.random((4, 4)), (17 + i, 23)) for i in range(count)]
    masks = [rng.choice([0, 1, 255], m.shape, p=[0.6, 0.3, 0.1]).astype(np.uint8) for m in maps]
    return maps, masks


@pytest.mark.parametrize("interval", [0.001, 0.01, 0.3, 1.0])
def test_equals_both_oracles(interval):
    maps, masks = random_images()
    metric = PxAP(interval)
    metric.update_state(maps, masks)
    for want in (oracle.pxap, oracle.pxap_histograms):
        expected = want(maps, masks, metric.thresholds)
        assert metric.result() == pytest.approx(expected, abs=1e-9)


@given(
    interval=st.sampled_from([0.001, 0.01, 0.1, 0.3, 1 / 3, 1.0]),
    dtype=st.sampled_from([np.float32, np.float64]),
    mask_dtype=st.sampled_from([np.uint8, np.int64]),
    data=st.data(),
)
def test_counts_as_numpy_does_at_the_edges_in_both_precisions(interval, dtype, mask_dtype, data):
    metric = PxAP(interval)
    edges = np.append(metric.thresholds, 1).astype(dtype)
    score = st.one_of(
        st.sampled_from([0, 1]),
        st.sampled_from(list(edges)),
        st.sampled_from(list(np.nextafter(edges, dtype(1)))),
        st.sampled_from(list(np.nextafter(edges, dtype(0)))),
        st.floats(0, 1),
    )
    pixels = data.draw(st.lists(st.tuples(score, st.sampled_from([0, 1, 255])), max_size=40))
    pixels.append((1, 1))  # without an object there is no figure
    scores = np.array([[score for score, _ in pixels]], dtype)
    mask = np.array([[kind for _, kind in pixels]], mask_dtype)
    metric.update_state([scores], [mask])
    wanted = oracle.pxap_histograms([scores.astype(np.float64)], [mask], metric.thresholds)
    assert metric.result() == wanted  # to the last digit


def test_perfect_and_constant_maps():
    mask = np.zeros((8, 8), np.uint8)
    mask[2:4, 2:6] = 1
    mask[7] = 255
    perfect = (mask == 1).astype(float)
    perfect[7] = 1  # ignored
    metric = PxAP()
    metric.update_state([perfect], [mask])
    assert metric.result() == 100
    for value in (0.0, 0.5, 1.0):
        metric = PxAP()
        metric.update_state([np.full((8, 8), value)], [mask])
        assert metric.result() == pytest.approx(100 * 8 / 56)


def test_pools_pixels_over_images_instead_of_averaging_images():
    good, bad = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    mask = np.array([[1, 0]])
    metric = PxAP(0.5)
    metric.update_state([good, bad], [mask, mask])
    assert metric.result() == pytest.approx(50)  # precision 1/2 at 1, then 2/4: not (100 + 50) / 2


def test_companions():
    heatmap = np.array([[0.9, 0.8, 0.3, 0.1]])
    metric = PxAP(0.1)
    metric.update_state([heatmap, heatmap], [np.array([[1, 1, 0, 0]]), np.array([[0, 255, 0, 0]])])
    details = metric.details()
    assert details["images"] == 1  # the other has no object
    assert (details["object_pixels"], details["background_pixels"]) == (2, 5)
    assert details["peak_iou"] == 100
    assert details["peak_threshold"] == pytest.approx(
        0.3
    )  # the edge 3 * 0.1 is just above the score 0.3
    assert details["otsu_iou"] == 100
    json.dumps(details)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_flat_map_has_no_foreground_at_otsu_s_threshold(value):
    metric = PxAP(0.1)
    metric.update_state([np.full((2, 2), value)], [np.array([[1, 0], [0, 0]])])
    assert metric.details()["otsu_iou"] == 0


def test_merge_reset_and_config():
    maps, masks = random_images()
    whole, a, b = PxAP(0.01), PxAP(0.01), PxAP(0.01)
    whole.update_state(maps, masks)
    a.update_state(maps[:1], masks[:1])
    b.update_state(maps[1:], masks[1:])
    a.merge_state([b])
    assert a.result() == pytest.approx(whole.result())
    assert a.details() == pytest.approx(whole.details())
    with pytest.raises(ValueError, match="cannot merge"):
        a.merge_state([PxAP(0.1)])
    a.reset_state()
    with pytest.raises(RuntimeError, match="no pixels"):
        a.result()
    copy = keras.metrics.deserialize(keras.metrics.serialize(whole))
    assert copy.get_config() == whole.get_config()


def test_no_object_in_the_split():
    metric = PxAP(0.1)
    metric.update_state([np.ones((2, 2))], [np.zeros((2, 2), int)])
    for question in (metric.result, metric.details):
        with pytest.raises(RuntimeError, match="no object pixel"):
            question()


@pytest.mark.parametrize(
    ("mask", "error", "says"),
    [
        (
            np.zeros((2, 3), int),
            ValueError,
            r"mask of a.png must have the shape of its heat map, \(2, 2\)",
        ),
        (np.zeros((2, 2)), TypeError, "integers"),
        (np.full((2, 2), 7), ValueError, "7"),
    ],
)
def test_bad_masks_are_refused_with_their_batch(mask, error, says):
    metric = PxAP(0.1)
    with pytest.raises(error, match=says):
        metric.update_state([np.ones((2, 2))] * 2, [np.ones((2, 2), int), mask], ["b.png", "a.png"])
    with pytest.raises(RuntimeError, match="no pixels"):
        metric.result()


def test_boolean_masks_are_objects():
    metric = PxAP(0.1)
    metric.update_state([np.array([[1.0, 0.0]])], [np.array([[True, False]])])
    assert metric.result() == 100


def check_counts_are_exact():
    metric, histogram = PxAP(), np.zeros((2, 1001), np.int64)
    histogram[:, 0] = 2**24, 5
    metric.update_histograms([histogram])
    histogram[:, 0] = 3, 4
    metric.update_histograms([histogram])
    metric.merge_state([metric])
    assert metric.details()["background_pixels"] == 2 * (2**24 + 3)
    metric.reset_state()
    metric.update_histograms([histogram])
    assert metric.details()["background_pixels"] == 3


def test_counts_are_exact():
    check_counts_are_exact()


@pytest.mark.slow
@under_others
def test_counts_are_exact_under_other_backends(backend):
    code = (
        f"import keras; assert keras.backend.backend() == {backend!r}\n"
        "import numpy as np\nfrom fcam_tf.metrics import PxAP\n"
        f"{inspect.getsource(check_counts_are_exact)}\ncheck_counts_are_exact()"
    )
    output_under(backend, code)


def test_no_images_add_nothing():
    metric = PxAP()
    metric.update_state(np.zeros((0, 4, 4)), [])
    with pytest.raises(RuntimeError, match="no pixels"):
        metric.result()
