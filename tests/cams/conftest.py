"""Small classifiers whose maps can be worked out by hand, and the formulas in NumPy."""

import keras
import numpy as np
import pytest

L = keras.layers
CHANNELS = 5


class Tiny:
    """Conv 1x1 -> ReLU -> global average pooling -> dense, with given weights."""

    classes = 3

    @staticmethod
    def images(count=2, height=6, width=8, seed=0):
        shape = (count, height, width, 3)
        return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")

    @staticmethod
    def build(ending="linear", *, size=(None, None), classes=classes, hidden=False):
        rng = np.random.default_rng(1)
        x = inputs = keras.Input((*size, 3), name="images")
        x = L.Conv2D(CHANNELS, 1, activation="relu", name="maps")(x)
        if hidden:
            x = L.Conv2D(4, 3, padding="same", activation="tanh", name="hidden")(x)
        x = L.GlobalAveragePooling2D(name="pool")(x)
        activation = ending if ending in ("softmax", "sigmoid") else None
        x = L.Dense(classes, activation=activation, name="scores")(x)
        if ending == "softmax layer":
            x = L.Softmax(name="probabilities")(x)
        elif ending == "activation layer":
            x = L.Activation("softmax", name="probabilities")(x)
        elif ending == "softmax operation":
            x = keras.ops.softmax(x)
        elif ending == "sigmoid operation":
            x = keras.ops.sigmoid(x)
        model = keras.Model(inputs, x)
        model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
        return model

    @staticmethod
    def activations(model, x):
        kernel, bias = model.get_layer("maps").get_weights()
        return np.maximum(x @ kernel[0, 0] + bias, 0)

    @staticmethod
    def head(model):
        return model.get_layer("scores").get_weights()

    def logits(self, model, x):
        kernel, bias = self.head(model)
        return self.activations(model, x).mean((1, 2)) @ kernel + bias

    @staticmethod
    def min_max(maps):
        low = maps.min((1, 2), keepdims=True)
        span = maps.max((1, 2), keepdims=True) - low
        return np.where(span > 0, (maps - low) / np.where(span > 0, span, 1), 0)


@pytest.fixture(scope="session")
def tiny():
    return Tiny()
