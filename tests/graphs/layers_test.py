import keras
import numpy as np
import pytest
import tensorflow as tf

from fcam_tf.baselines.adl import AttentionDropout
from fcam_tf.baselines.icl import ContrastiveAttention
from fcam_tf.graphs.layers import BatchNormalization, FreezableDropout, SqueezeExcite

X = np.random.default_rng(0).normal(size=(2, 5, 6, 8)).astype("float32")


def test_dropout_drops_in_training_only():
    layer = FreezableDropout(0.5, seed=0)
    assert np.count_nonzero(layer(X, training=True).numpy() == 0) > X.size // 4
    np.testing.assert_array_equal(layer(X, training=False), X)
    np.testing.assert_array_equal(layer(X), X)


def test_frozen_dropout_never_drops():
    layer = FreezableDropout(0.5, trainable=False)
    np.testing.assert_array_equal(layer(X, training=True), X)
    layer.trainable = True
    assert np.any(layer(X, training=True).numpy() != X)


def test_dropout_round_trip():
    layer = FreezableDropout(0.3, trainable=False, name="drop")
    copy = FreezableDropout.from_config(layer.get_config())
    assert (copy.rate, copy.trainable, copy.name) == (0.3, False, "drop")


def test_draws_go_on_after_saving(tmp_path):
    images = keras.Input((None, None, 8))
    layers = [
        FreezableDropout(0.5, seed=0, name="dropout"),
        AttentionDropout(0.5, 0.9, seed=0, name="adl"),
        ContrastiveAttention({"low": 0.1}, seed=0, name="icl"),
    ]
    x = images
    for layer in layers:
        x = layer(x)
    x, _ = x
    model = keras.Model(images, x)
    for _ in range(3):
        model(X, training=True)
    model.save_weights(tmp_path / "after3.weights.h5")
    states = [np.asarray(layer.seed_generator.state) for layer in layers]
    assert all(state[1] >= 3 for state in states)
    model(X, training=True)
    model.load_weights(tmp_path / "after3.weights.h5")
    for layer, state in zip(layers, states, strict=True):
        np.testing.assert_array_equal(layer.seed_generator.state, state)


def test_reads_files_without_draws(tmp_path):
    def build(kind):
        images = keras.Input((None, None, 8))
        x = keras.layers.Conv2D(2, 1, name="conv")(images)
        return keras.Model(images, kind(0.5, seed=1, name="dropout")(x))

    build(keras.layers.Dropout).save_weights(tmp_path / "old.weights.h5")
    model = build(FreezableDropout)
    model.load_weights(tmp_path / "old.weights.h5")
    assert np.asarray(model.get_layer("dropout").seed_generator.state)[1] == 0


def numpy_squeeze_excite(x, layer, gate):
    kernel1, bias1, kernel2, bias2 = (w.numpy() for w in layer.weights)
    means = x.mean((1, 2))
    hidden = np.maximum(means @ kernel1[0, 0] + bias1, 0)
    return x * gate(hidden @ kernel2[0, 0] + bias2)[:, None, None, :]


def test_squeeze_excite_equals_numpy():
    layer = SqueezeExcite(8, 3)
    layer.build(X.shape)
    expected = numpy_squeeze_excite(X, layer, lambda v: 1 / (1 + np.exp(-v)))
    np.testing.assert_allclose(layer(X), expected, rtol=1e-5, atol=1e-6)


def test_squeeze_excite_takes_a_layer_for_hard_sigmoid():
    layer = SqueezeExcite(8, 3, excite_activation=keras.layers.ReLU(6.0))
    layer.build(X.shape)
    layer.set_weights([4 * w for w in layer.get_weights()])
    expected = numpy_squeeze_excite(X, layer, lambda v: np.clip(v + 3, 0, 6) / 6)
    np.testing.assert_allclose(layer(X), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_squeeze_excite_clone_keeps_freezing_and_dtype(dtype):
    images = keras.Input((None, None, 8))
    model = keras.Model(images, SqueezeExcite(8, 3, dtype=dtype, name="se")(images))
    model.get_layer("se").trainable = False
    clone = keras.models.clone_model(model)
    assert clone.trainable_variables == []
    assert len(clone.non_trainable_variables) == 4
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(X), model(X))
    assert model(X).dtype == model.get_layer("se").compute_dtype


def normalised(kind, x, dtype="float32", training=True, **options):
    """Return outputs, gradients by input, gamma and beta, and running statistics of one call."""
    layer = kind(momentum=0.9, epsilon=1e-5, dtype=dtype, **options)
    layer.build(x.shape)
    layer.set_weights([np.linspace(0.5, 2, w.shape[0]) + i for i, w in enumerate(layer.weights)])
    upstream = np.cos(np.arange(x.size)).reshape(x.shape)
    x = tf.cast(x, layer.compute_dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=training)
        loss = tf.reduce_sum(tf.cast(y, "float64") * upstream)
    sources = [x, *(weight.value for weight in layer.trainable_weights)]
    gradients = tape.gradient(loss, sources)
    assert y.dtype == layer.compute_dtype
    return [y, *gradients, *layer.non_trainable_weights]


def largest_difference(found, expected):
    assert len(found) == len(expected)
    pairs = [
        (tf.cast(a, "float64"), tf.cast(b, "float64")) for a, b in zip(found, expected, strict=True)
    ]
    return max(float(tf.reduce_max(abs(a - b) / (1 + abs(b)))) for a, b in pairs)


@pytest.mark.parametrize(
    ("dtype", "most"), [("float32", 1e-5), ("mixed_float16", 2e-3), ("mixed_bfloat16", 2e-2)]
)
def test_batch_normalisation_trains_as_keras_does(dtype, most, monkeypatch):
    expected = normalised(keras.layers.BatchNormalization, X + 3, dtype)
    monkeypatch.setattr(BatchNormalization, "_moments", None)  # of Keras's way
    found = normalised(BatchNormalization, X + 3, dtype)
    assert largest_difference(found, expected) < most
    statistics = found[-2:], expected[-2:]
    assert largest_difference(*statistics) < (1e-5 if dtype == "float32" else most)


def test_batch_normalisation_keeps_the_variance_of_the_batch():
    layer = BatchNormalization(momentum=0.9)
    layer(np.array([1.0, 3.0], "float32").reshape(1, 2, 1, 1), training=True)
    np.testing.assert_allclose(layer.moving_mean, [0.1 * 2])
    np.testing.assert_allclose(layer.moving_variance, [0.9 + 0.1 * 1], rtol=1e-6)  # not 0.1 * 2


@pytest.mark.parametrize(
    ("x", "options"),
    [
        (X, {"training": False}),
        (X, {"trainable": False}),
        (X, {"dtype": "float64"}),
        (X, {"axis": 1}),
        (X, {"scale": False}),
        (X, {"center": False}),
        *([(X, {"renorm": True})] if hasattr(keras.layers.BatchNormalization(), "renorm") else []),
        (X, {"synchronized": True}),
        (X[0], {}),
    ],
)
def test_batch_normalisation_is_keras_s_where_nothing_is_fused(x, options):
    found = normalised(BatchNormalization, x, **options)
    expected = normalised(keras.layers.BatchNormalization, x, **options)
    assert largest_difference(found, expected) == 0


@pytest.mark.parametrize("files", ["weights.h5", "keras"])
def test_batch_normalisation_reads_what_keras_s_wrote(files, tmp_path):
    def build(*kinds):
        images = x = keras.Input((None, None, 8))
        for kind in kinds:
            x = kind()(x)
        return keras.Model(images, x)

    theirs, ours = keras.layers.BatchNormalization, BatchNormalization
    old = build(theirs, theirs)
    old.set_weights([np.full(8, i + 1.0) for i in range(8)])
    file = tmp_path / f"old.{files}"
    if files == "keras":
        old.save(file)
    else:
        old.save_weights(file)
    new = build(ours, theirs)  # a layer of a user may stand beside ours
    new.load_weights(file)
    for mine, expected in zip(new.get_weights(), old.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, expected)
    copy = keras.Model.from_config(new.get_config())
    assert type(copy.layers[1]) is BatchNormalization
