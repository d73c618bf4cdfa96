import keras
import numpy as np
import pytest

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
