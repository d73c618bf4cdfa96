import keras
import numpy as np
import pytest

from fcam_tf.baselines.adl import AttentionDropout
from fcam_tf.baselines.icl import ContrastiveAttention
from fcam_tf.graphs.layers import FreezableDropout, SqueezeExcite

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
