"""Small classifiers whose maps can be worked out by hand, and the formulas in NumPy."""

import keras
import numpy as np
import pytest

from fcam_tf import cams

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
    def gradients(model, x, label):
        """Return A and dY/dA of the map before a 3x3 convolution, tanh and a linear head."""
        kernel, bias = model.get_layer("hidden").get_weights()
        rows, _ = model.get_layer("scores").get_weights()
        k, b = model.get_layer("maps").get_weights()
        a = np.maximum(x @ k[0, 0] + b, 0).astype("float64")
        _, h, w, _ = a.shape
        padded = np.pad(a, ((0, 0), (1, 1), (1, 1), (0, 0)))
        z = bias + sum(
            padded[:, i : i + h, j : j + w] @ kernel[i, j] for i in range(3) for j in range(3)
        )
        upstream = (1 - np.tanh(z) ** 2) * rows[:, label] / (h * w)
        gradient = np.zeros_like(padded)
        for i in range(3):
            for j in range(3):
                gradient[:, i : i + h, j : j + w] += upstream @ kernel[i, j].T
        return a, gradient[:, 1:-1, 1:-1]

    @staticmethod
    def min_max(maps):
        low = maps.min((1, 2), keepdims=True)
        span = maps.max((1, 2), keepdims=True) - low
        return np.where(span > 0, (maps - low) / np.where(span > 0, span, 1), 0)


@pytest.fixture(scope="session")
def tiny():
    return Tiny()


@pytest.fixture(scope="module")
def model(tiny):
    return tiny.build()


@pytest.fixture(scope="module")
def methods(model):
    options = {"smoothgradcampp": {"seed": 0}, "sscam": {"seed": 0, "samples": 3}}
    return {name: cams.get(name, model, **options.get(name, {})) for name in cams.METHODS}


@pytest.fixture(scope="module")
def x(tiny):
    return tiny.images()
