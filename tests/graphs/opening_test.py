import keras
import numpy as np
import pytest
from keras import ops

from fcam_tf.graphs.opening import Opened

L = keras.layers


class Pair(L.Layer):
    """Gives tokens, and nothing beside them, which Keras cannot call on symbolic tensors."""

    def __init__(self, **options):
        super().__init__(**options)
        self.dense = L.Dense(4, name="inner")

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return x + self.dense(x), None


class Encoder(L.Layer):
    def __init__(self, *, odd=False, **options):
        super().__init__(**options)
        self.odd = odd
        self.blocks = [Pair(name=f"block{i}") for i in range(2)]

    def build(self, shape):
        for each in self.blocks:
            each.build(shape)

    def call(self, x):
        if self.odd and isinstance(x, keras.KerasTensor):
            return x * 2.0
        for each in self.blocks:
            x, _ = each(x)
        return x


def model_of(encoder):
    x = keras.Input((6, 4))
    return keras.Model(x, L.GlobalAveragePooling1D()(encoder(x)))


X = np.random.default_rng(0).normal(size=(3, 6, 4)).astype("float32")


def test_layers_of_tokens_are_taken_apart():
    model = model_of(Encoder(name="encoder"))
    kinds = [type(each) for each in model._flatten_layers()]
    opened = Opened(model)
    assert not opened.closed
    np.testing.assert_array_equal(opened.model(X), model(X))
    inner = keras.Model(opened.model.inputs, opened.names["encoder/block0"])([X])
    block = model.get_layer("encoder").blocks[0]
    np.testing.assert_allclose(inner, X + block.dense(X), rtol=1e-5)
    assert "encoder/block1/inner" in opened.names
    # Weights are shared, and the model itself is as it was.
    assert {id(w) for w in opened.model.weights} == {id(w) for w in model.weights}
    assert [type(each) for each in model._flatten_layers()] == kinds


def test_a_layer_whose_graph_computes_something_else_stays_whole():
    model = model_of(Encoder(odd=True, name="encoder"))
    opened = Opened(model)
    assert [layer.name for layer in opened.closed] == ["encoder"]
    np.testing.assert_array_equal(opened.model(X), model(X))


def test_other_models_are_left_alone():
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, L.Dense(2)(L.GlobalAveragePooling2D()(x)))
    assert Opened(model).model is model


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.drop, self.dense = L.Dropout(0.5), L.Dense(2)

    def call(self, x, training=False):
        return {"scores": self.dense(self.drop(ops.mean(x, axis=(1, 2)), training=training))}


def test_a_subclassed_model_is_traced_in_inference():
    model = Subclassed()
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
    expected = model(x)["scores"]
    opened = Opened(model)
    np.testing.assert_allclose(opened.model(x)["scores"], expected, rtol=1e-5)


def test_a_sequential_that_was_never_called():
    with pytest.raises(TypeError, match="call a Sequential once on data"):
        Opened(keras.Sequential([L.Dense(2)]))
