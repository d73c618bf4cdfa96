"""Classifiers small enough to train in a test."""

import dataclasses

import keras
import numpy as np

from fcam_tf.models import BACKBONES
from fcam_tf.models.pretrained import Source

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


def tiny_backbone(name):
    """Return the specification of a backbone with five convolutions for its graph.

    Its decoder is as narrow, with as many blocks as that of the backbone.

    Its ImageNet weights are drawn from a seed, and have a head if those of the backbone have one.
    """

    def build(images, output_stride, attend=lambda _, x: x):
        maps, x = {}, images
        for i, width in enumerate((8, 16, 24, 96, 512), start=1):
            stride = 2 if 2**i <= output_stride else 1
            x = L.Conv2D(width, 3, stride, padding="same", name=f"conv{i}")(x)
            x = L.BatchNormalization(momentum=0.9, name=f"bn{i}")(x)
            maps[f"P{i}"] = x = attend(f"relu{i}", L.ReLU(name=f"relu{i}")(x))
        return maps

    def draw(_, model):
        for seed, variable in enumerate(model.weights):
            values = np.random.default_rng(seed).uniform(0.5, 1.5, variable.shape)
            variable.assign(np.float16(values / max(1, variable.shape[-1])))

    spec = BACKBONES[name]
    source = Source("a seed", "nothing", lambda _: None, draw, spec.source.has_head)
    attention = ("relu3", "relu4", "relu5") if spec.attention else ()
    return dataclasses.replace(
        spec,
        build=build,
        source=source,
        attention=attention,
        sides=attention[:2],
        decoder_filters=(8, 6, 4, 4, 4)[: len(spec.decoder_filters)],
    )


def tiny_spec():
    """Return the specification of a backbone "tiny" that every baseline can train."""
    return dataclasses.replace(
        tiny_backbone("efficientnetlite_b0"),
        name="tiny",
        output_stride=8,
        branch_filters={"acol": 6, "spg_side": 5, "spg_top": 4},
    )


def photos(number=4, size=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, size, size, 3)).astype("uint8")


def with_a_layer_named(name):
    """Return a classifier whose last convolution has a name."""
    x = images = L.Input((32, 32, 3))
    for n, width in enumerate((4, 6)):
        x = L.Conv2D(width, 3, 2, padding="same", name=f"conv{n}")(x)
    x = L.Conv2D(8, 3, 2, padding="same", name=name)(x)
    return keras.Model(images, L.Dense(3, name="logits")(L.GlobalAveragePooling2D()(x)))


def trained_classifier():
    """Return a tiny classifier with statistics that differ from those of a batch.

    So its training and its inference can be told apart.
    """
    keras.utils.set_random_seed(0)
    model = tiny_classifier()
    for n in range(3):
        gamma, beta, mean, variance = model.get_layer(f"bn{n}").get_weights()
        model.get_layer(f"bn{n}").set_weights([gamma, beta, mean + 0.05, variance * 0.5])
    return model
