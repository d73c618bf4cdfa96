import functools
import gc

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fcam_tf import cams
from fcam_tf.cams.base import normalize, weighted_sum
from fcam_tf.losses import FCAMLoss
from fcam_tf.models import FCAM
from tests.models.tiny import photos, tiny_classifier

X = np.random.default_rng(0).uniform(-1, 1, (2, 6, 8, 3)).astype("float32")
FLOATS = st.floats(-(2.0**100), 2.0**100, width=32)
MAPS = hnp.arrays("float32", hnp.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=FLOATS)


def test_normalize_by_hand():
    np.testing.assert_array_equal(normalize([[[1.0, 3.0], [2.0, 5.0]]]), [[[0, 0.5], [0.25, 1]]])


@pytest.mark.parametrize("value", [0.0, -3.5, np.nan, np.inf])
def test_normalize_gives_zeros_where_there_is_nothing_to_stretch(value):
    maps = np.stack([np.full((2, 2), value, "float32"), np.float32([[0, 1], [2, 4]])])
    np.testing.assert_array_equal(normalize(maps), [[[0, 0], [0, 0]], [[0, 0.25], [0.5, 1]]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_normalize_gives_zeros_where_one_cell_is_no_number(value):
    np.testing.assert_array_equal(normalize([[[0.0, 1.0], [value, 2.0]]]), np.zeros((1, 2, 2)))


@given(MAPS)
def test_normalize(maps):
    result = normalize(maps).numpy()
    assert result.dtype == "float32"
    assert result.shape == maps.shape
    assert np.isfinite(result).all()
    for one, stretched in zip(maps, result, strict=True):
        assert stretched.min() == 0
        assert stretched.max() in (0, 1)
        span = np.ptp(one.astype("float64"))
        assert stretched.max() == (span > 1e-37) or span < 1e-37  # denormals count as nothing
        order = np.argsort(one, axis=None, kind="stable")
        assert (np.diff(stretched.ravel()[order]) >= 0).all()


@given(MAPS, st.floats(0.125, 8), st.integers(-100, 100))
def test_normalize_forgets_scale_and_offset(maps, scale, offset):
    maps = np.round(maps / 2.0**93)
    np.testing.assert_allclose(normalize(maps * scale + offset), normalize(maps), atol=1e-4)


@given(MAPS)
def test_weighted_sum(maps):
    maps = maps[..., None] / 2.0**90
    weights = np.random.default_rng(0).normal(size=(len(maps), 1, 1, 4)).astype("float32")
    values = np.concatenate([maps, maps**2, np.full_like(maps, np.nan), -maps], axis=-1)
    expected = np.nansum(weights.astype("float64") * values, axis=-1)
    np.testing.assert_allclose(weighted_sum(weights, values), expected, rtol=1e-4, atol=1e-2)


def test_weighted_sum_leaves_out_undefined_weights():
    weights = np.float32([[[[np.nan, 2.0, np.inf]]]])
    values = np.float32([[[[1.0, 3.0, 0.0]]]])
    assert weighted_sum(tf.constant(weights), tf.constant(values))[0, 0, 0] == 6


@pytest.mark.traced
@pytest.mark.parametrize("name", cams.METHODS)
class TestEveryMethod:
    def test_shape_dtype_and_range(self, methods, name):
        maps = methods[name](X).numpy()
        assert maps.shape == (2, 6, 8)
        assert maps.dtype == "float32"
        np.testing.assert_allclose(maps.min((1, 2)), 0)
        np.testing.assert_allclose(maps.max((1, 2)), 1)

    def test_images_that_are_no_numbers_give_zeros(self, methods, name):
        bad = X.copy()
        bad[0] = np.nan
        maps = methods[name](bad, 1).numpy()
        np.testing.assert_array_equal(maps[0], 0)
        assert maps[1].max() == 1

    def test_constant_maps_give_zeros(self, methods, name):
        np.testing.assert_array_equal(methods[name](np.full_like(X, 0.3), 1), np.zeros((2, 6, 8)))


@pytest.mark.traced
@pytest.mark.parametrize("name", sorted(set(cams.METHODS) - {"smoothgradcampp", "sscam"}))
class TestMethodsWithoutNoise:
    def test_none_takes_the_predicted_class(self, model, methods, name):
        predicted = model(X).numpy().argmax(-1)
        maps, logits = methods[name].maps_and_logits(X)
        np.testing.assert_allclose(maps, methods[name](X, predicted), atol=1e-6)
        np.testing.assert_allclose(logits, model(X), atol=1e-5)

    def test_forms_of_labels(self, methods, name):
        cam = methods[name]
        expected = cam(X, [2, 2])
        for labels in (2, np.int64(2), (2, 2), np.array([2, 2], "uint8"), tf.constant([2, 2])):
            np.testing.assert_array_equal(cam(X, labels), expected)

    def test_batch_equals_single_images(self, methods, name):
        labels = [0, 2]
        batch = methods[name](X, labels)
        for i in range(2):
            single = methods[name](X[i : i + 1], labels[i : i + 1])
            np.testing.assert_allclose(single[0], batch[i], atol=1e-5)

    def test_uint8_images(self, methods, name):
        x = np.random.default_rng(0).integers(0, 256, X.shape).astype("uint8")
        np.testing.assert_allclose(methods[name](x, 0), methods[name](x.astype("float64"), 0))


@pytest.mark.parametrize("name", cams.METHODS)
def test_full_size(tiny, name):
    x = keras.Input((None, None, 3))
    coarse = tiny.build()(keras.layers.AveragePooling2D(2)(x))
    cam = cams.get(name, keras.Model(x, coarse), relu=False)
    full = cam.full_size(X, 1).numpy()
    assert full.shape == (2, 6, 8)
    assert full.dtype == "float32"
    assert 0 <= full.min() < full.max() <= 1
    if name not in ("smoothgradcampp", "sscam", "fullgrad"):
        small = cam(X, 1).numpy()
        assert small.shape == (2, 3, 4)
        # Half-pixel centres: cells 0 and 1 meet between pixels 1 and 2.
        middle = 0.75 * small[:, 0, 0] + 0.25 * small[:, 0, 1]
        np.testing.assert_allclose(full[:, 0, 1], middle, atol=1e-5)
        np.testing.assert_allclose(full[:, 0, 0], small[:, 0, 0], atol=1e-5)


@pytest.mark.traced
def test_inside_a_graph(methods):
    cam = methods["layercam"]
    dataset = tf.data.Dataset.from_tensor_slices((X, [0, 1])).batch(2).map(cam)
    np.testing.assert_allclose(next(iter(dataset)), cam(X, [0, 1]), atol=1e-6)


def traces(cam):
    return cam._compiled.experimental_get_tracing_count()


@pytest.mark.traced
@pytest.mark.parametrize("name", ["cam", "gradcam", "layercam", "smoothgradcampp"])
def test_traces(tiny, name):
    cam = cams.get(name, tiny.build(hidden=True))
    for seed in range(5):
        cam(tiny.images(seed=seed), None if seed % 2 else 1)
    assert traces(cam) == 1
    for size in range(3, 13):
        assert cam(tiny.images(1 + size % 3, size, 2 * size)).shape[1:] == (size, 2 * size)
    assert traces(cam) <= 3


def test_follows_the_weights_of_the_model(tiny):
    model = tiny.build()
    cam = cams.get("cam", model)
    before = cam(X, 0).numpy()
    kernel, bias = model.get_layer("scores").get_weights()
    model.get_layer("scores").set_weights([-kernel, bias])
    np.testing.assert_allclose(cam(X, 0), 1 - before, atol=1e-5)
    np.testing.assert_allclose(before, tiny.min_max(before), atol=1e-6)


@pytest.mark.traced
@pytest.mark.parametrize("name", ["layercam", "scorecam"])
def test_many_calls_leave_nothing_behind(tiny, name):
    cam = cams.get(name, tiny.build(hidden=True))
    calls = 100 if name == "layercam" else 20

    def live():
        gc.collect()
        return sum(isinstance(o, tf.Tensor) for o in gc.get_objects())

    for _ in range(3):
        cam(X)
    before = live()
    nodes = len(gc.get_objects())
    for _ in range(calls):
        cam(X)
    assert live() <= before + 2
    assert len(gc.get_objects()) < nodes + 20 * calls // 2


@pytest.mark.traced
@settings(max_examples=20, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 3), st.integers(0, 2))
def test_any_size(tiny, methods, height, width, count, label):
    maps = methods["gradcam"](tiny.images(count, height, width), label).numpy()
    assert maps.shape == (count, height, width)
    assert np.isfinite(maps).all()


@pytest.mark.traced
@pytest.mark.parametrize("name", ["layercam", "eigencam", "eigengradcam"])
def test_runs_in_a_graph_of_any_batch_and_size(model, name):
    cam = cams.get(name, model)
    call = tf.function(cam.full_size, input_signature=[tf.TensorSpec([None, None, None, 3])])
    np.testing.assert_allclose(call(X), cam.full_size(X), atol=1e-6)


@functools.cache
def under(floatx):
    """Return maps by method under a ``floatx`` of Keras, and the loss of an F-CAM."""
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(floatx)
    try:
        model, draw, found = tiny_classifier(size=32, pooling=False), np.random.default_rng(0), {}
        for w in model.weights:
            positive = "variance" in w.path
            w.assign(draw.uniform(0.5, 1, w.shape) if positive else draw.normal(0, 0.3, w.shape))
        for name in ("layercam", "smoothgradcampp", "scorecam", "eigencam", "ablationcam"):
            cam = cams.get(name, model, **({"seed": 0} if name == "smoothgradcampp" else {}))
            found[name] = cam(photos(2), [0, 1])
            assert found[name].dtype == "float32"
        fcam = FCAM.from_classifier(model, method="smoothgradcampp", decoder_filters=())
        fcam.unfreeze()
        fcam.compile("sgd", FCAMLoss(erosion=3))
        logs = fcam.fit(photos(2), np.array([0, 1]), verbose=0).history
        assert fcam.localize(photos(2)).heatmaps.dtype == "float32"
        return found, float(logs["loss"][0])
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    ("floatx", "close"),
    [
        ("float64", 1e-5),
        pytest.param("float16", 0.005, marks=pytest.mark.slow),
        ("bfloat16", 0.05),
    ],
)
def test_every_floatx_gives_the_maps_of_float32(floatx, close):
    (expected, _), (found, loss) = under("float32"), under(floatx)
    assert np.isfinite(loss)
    for name, maps in found.items():
        assert np.ptp(maps) > 0.5
        assert np.abs(maps - expected[name]).mean() < close, name
