"""Classifiers small enough to train in a test."""

import keras
import numpy as np

L = keras.layers


def tiny_classifier(size=None, classes=3, pooling=True):
    """Return convolutions at strides 2, 4 and 8, with batch normalisation and a linear head."""
    x = images = L.Input((size, size, 3), name="images")
    x = L.Rescaling(1 / 255, name="scale")(x)
    for i, width in enumerate((4, 6, 8)):
        x = L.Conv2D(width, 3, 2, padding="same", name=f"conv{i}")(x)
        x = L.BatchNormalization(name=f"bn{i}")(x)
        x = L.ReLU(name=f"relu{i}")(x)
    x = L.GlobalAveragePooling2D(name="pool")(x) if pooling else L.Flatten(name="flat")(x)
    x = L.Dense(classes, name="logits")(x)
    return keras.Model(images, x, name="tiny")


def photos(number=4, size=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, size, size, 3)).astype("uint8")
