"""Every kind of model that was tried beside those of `ending_test`, with what comes of it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from keras import layers as L  # noqa: N812 - as in the package
from keras import ops
from keras.src.applications import convnext as convnext_family

from fcam_tf.cams import scores
from tests.cams.ending_test import trunk

WIDE, SQUARE = (32, 48, 3), (32, 32, 3)
hub = keras_hub.models


@dataclasses.dataclass
class Kind:
    """A model, what `cams.get` is told, and what a tape needs to know to expect the same."""

    make: Callable[[], keras.Model]
    tap: Callable[[keras.Model], Any] | None = None  # the layer whose output is weighted
    score: Callable[[Any], Any] = lambda outputs: tf.reduce_max(outputs, -1)
    grid: tuple[int, int] | None = None  # of tokens
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    shapes: tuple[tuple[int, ...], ...] = (SQUARE,)
    refused: str | None = None


def named(name):
    return lambda model: next(x for x in model._flatten_layers() if x.name == name)


def vit(**options):
    backbone = hub.ViTBackbone(
        image_shape=WIDE, patch_size=8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=12
    )
    return hub.ViTImageClassifier(backbone, 3, **options)


def deit():
    backbone = hub.DeiTBackbone(
        image_shape=WIDE, patch_size=8, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=12
    )
    return hub.DeiTImageClassifier(backbone, 3)


def swin():
    backbone = hub.SwinTransformerBackbone(
        image_shape=WIDE, patch_size=4, embed_dim=8, depths=[1, 2], num_heads=[2, 2], window_size=4
    )
    return hub.SwinTransformerImageClassifier(backbone, 3)


def convnext():
    images = keras.Input((64, 64, 3))
    base = convnext_family.ConvNeXt(
        depths=[1, 1, 1, 1], projection_dims=[4, 4, 6, 6], weights=None, input_shape=(64, 64, 3),
        include_top=False,
    )  # fmt: skip
    x = L.GlobalAveragePooling2D()(L.Identity(name="top")(base(images)))
    return keras.Model(images, L.Dense(3)(L.LayerNormalization()(x)))


class Prepend(L.Layer):
    """Learned tokens before those of the patches."""

    def __init__(self, number, **options):
        super().__init__(**options)
        self.number = number

    def build(self, shape):
        self.tokens = self.add_weight(shape=(1, self.number, shape[-1]))

    def call(self, x):
        first = ops.broadcast_to(self.tokens, (ops.shape(x)[0], self.number, x.shape[-1]))
        return ops.concatenate([ops.cast(first, x.dtype), x], axis=1)


def block(x, name):
    y = L.LayerNormalization()(x)
    query, key, value = (L.Dense(8)(y) for _ in range(3))
    weights = ops.softmax(ops.matmul(query, ops.transpose(key, (0, 2, 1))) / 8**0.5)
    x = x + L.Dense(8)(ops.matmul(weights, value))
    x = x + L.Dense(8)(L.Dense(12, activation="gelu")(L.LayerNormalization()(x)))
    return L.Identity(name=name)(x)


def tokens(extra, head, shape=WIDE):
    """A transformer as people write it, with attention by `ops.matmul`."""
    images = keras.Input(shape)
    x = L.Conv2D(8, 8, strides=8, name="patches")(images / 255)
    x = ops.reshape(x, (-1, shape[0] * shape[1] // 64, 8))
    x = Prepend(extra)(x) if extra else x
    for i in range(3):
        x = block(x, f"block{i}")
    return keras.Model(images, L.Dense(3, name="scores")(head(x)))


class Encoder(L.Layer):
    """A layer that nobody can look into, as its call does not take symbolic tensors."""

    def __init__(self, **options):
        super().__init__(**options)
        self.mix = L.MultiHeadAttention(2, 4)

    def build(self, shape):
        self.mix.build(shape, shape)

    def call(self, x):
        return x + self.mix(x, tf.identity(tf.convert_to_tensor(x)))

    def compute_output_shape(self, shape):
        return shape


def hidden():
    images = keras.Input(SQUARE)
    x = ops.reshape(L.Conv2D(8, 8, strides=8, name="patches")(images), (-1, 16, 8))
    return keras.Model(images, L.Dense(3)(Encoder(name="encoder")(Prepend(1)(x))[:, 0]))


def text_line():
    """Columns of a line of text, in a sequence whose length happens to be a square."""
    images = keras.Input(SQUARE)
    x = L.Conv2D(4, 3, strides=(4, 2), padding="same", activation="relu")(images)
    x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, 16, 32))
    return keras.Model(images, L.Dense(3)(L.LSTM(5)(L.Identity(name="columns")(x))))


def plain(outputs, shape=SQUARE):
    images = keras.Input(shape)
    return keras.Model(images, outputs(trunk(images)))


def pooled(x):
    return L.GlobalAveragePooling2D()(x)


def two_inputs(*, by_name=False):
    images, meta = keras.Input(SQUARE, name="photo"), keras.Input((4,), name="meta")
    both = L.Concatenate()([pooled(trunk(images)), meta])
    both = L.Dense(5, activation="tanh")(both)
    inputs = {"photo": images, "meta": meta} if by_name else [images, meta]
    return keras.Model(inputs, L.Dense(3)(both))


def two_pictures():
    left, right = keras.Input(SQUARE, name="left"), keras.Input(SQUARE, name="right")
    seen = pooled(trunk(left))
    other = pooled(L.Conv2D(3, 3)(right / 255))
    both = L.Dense(5, activation="tanh")(L.Concatenate()([seen, other]))
    return keras.Model([left, right], L.Dense(3)(both))


def two_outputs(x):
    return [L.Dense(3, name="species")(pooled(x)), L.Dense(2, name="age")(L.Flatten()(x))]


def segmentation(x, activation=None):
    x = L.Conv2D(5, 3, padding="same", activation="tanh")(x)
    return L.Conv2D(3, 1, activation=activation, name="logits")(L.UpSampling2D(2, name="fine")(x))


REGION = np.zeros((32, 32), bool)
REGION[4:12, 10:20] = True
WANTED = np.float32([1, -2, 0.5, 3])


class Subclassed(keras.Model):
    def __init__(self, *, branches=False):
        super().__init__()
        self.branches = branches
        self.first = L.Conv2D(6, 3, strides=4, activation="relu", name="top")
        self.pool, self.scores = L.GlobalAveragePooling2D(), L.Dense(3)

    def call(self, images):
        x = self.first(images / 255)
        if self.branches and float(ops.max(x)) > 1e9:
            x = -x
        return self.scores(self.pool(x))


def called(model):
    model(np.zeros((1, *SQUARE), "float32"))
    return model


def preprocessed():
    preprocessor = hub.ViTImageClassifierPreprocessor(
        keras_hub.layers.ImageConverter(image_size=(32, 48), scale=1 / 255, offset=-0.5)
    )
    return vit(preprocessor=preprocessor)


def first_channels(shape):
    images = keras.Input(shape)
    x = L.Permute((2, 3, 1))(images)
    return keras.Model(images, L.Dense(3)(pooled(trunk(x))))


def signal():
    x = keras.Input((16, 3))
    return keras.Model(x, L.Dense(3)(L.GlobalAveragePooling1D()(L.Conv1D(4, 3, padding="same")(x))))


def film():
    x = keras.Input((4, 16, 16, 3))
    return keras.Model(x, L.Dense(3)(L.GlobalAveragePooling3D()(L.Conv3D(4, 3)(x))))


def first(x):
    return x[:, 0]


top, last_block = named("top"), named("transformer_block_1")
KINDS = {
    "keras-hub ViT": Kind(vit, last_block, grid=(4, 6), shapes=(WIDE,)),
    "keras-hub ViT, mean of tokens": Kind(
        lambda: vit(pooling="gap"), named("ln"), grid=(4, 6), shapes=(WIDE,)
    ),
    "keras-hub ViT, a layer within": Kind(
        vit, lambda model: model.backbone.get_layer("vit_encoder").encoder_layers[-1].layer_norm_1,
        grid=(4, 6), shapes=(WIDE,), options={"layer": "transformer_block_2/ln_1"},
    ),
    "keras-hub DeiT": Kind(deit, last_block, grid=(4, 6), shapes=(WIDE,)),
    "keras-hub Swin": Kind(swin, named("norm"), grid=(4, 6), shapes=(WIDE,)),
    "keras-hub classifier with its preprocessor": Kind(
        preprocessed, last_block, grid=(4, 6), shapes=((40, 60, 3),)
    ),
    "keras.applications ConvNeXt": Kind(convnext, named("top"), shapes=((64, 64, 3),)),
    "ViT by hand, class token": Kind(
        lambda: tokens(1, first), named("block1"), grid=(4, 6), shapes=(WIDE,)
    ),
    "ViT by hand, class and register tokens": Kind(
        lambda: tokens(5, first), named("block1"), grid=(4, 6), shapes=(WIDE,)
    ),
    "ViT by hand, mean of tokens": Kind(
        lambda: tokens(0, L.GlobalAveragePooling1D()), named("block2"), grid=(4, 6), shapes=(WIDE,)
    ),
    "ViT by hand, largest value of tokens": Kind(
        lambda: tokens(0, L.GlobalMaxPooling1D()), named("block2"), grid=(4, 6),
        shapes=(WIDE,),
    ),
    "tokens whose grid is given": Kind(
        lambda: tokens(0, L.GlobalAveragePooling1D()), named("block1"), grid=(6, 4), shapes=(WIDE,),
        options={"layer": "block1", "grid": (6, 4)},
    ),
    "a grid that does not fit": Kind(
        lambda: tokens(1, first), options={"layer": "block1", "grid": (7, 7)}, shapes=(WIDE,),
        refused=r"`grid` must be \(height, width\).*'block1': 7x7 does not fit 25 tokens",
    ),
    "an encoder that cannot be looked into": Kind(
        hidden, refused=r"`layer` must be given.*near its head.*patches"
    ),
    "columns of a text line": Kind(text_line, refused="`layer` must be given"),
    "columns of a text line, as a layer": Kind(
        text_line, options={"layer": "columns"}, refused="16 tokens of images of 32x32 have no"
    ),
    "numbers beside the image": Kind(two_inputs, top, shapes=(SQUARE, (4,))),
    "inputs by name": Kind(lambda: two_inputs(by_name=True), top, shapes=(SQUARE, (4,))),
    "two pictures": Kind(
        two_pictures, top, shapes=(SQUARE, SQUARE), options={"image_input": "left"}
    ),
    "two pictures, none named": Kind(
        two_pictures, refused=r"`image_input` must say which.*left, right"
    ),
    "several outputs, one named": Kind(
        lambda: plain(two_outputs), top, lambda y: tf.reduce_max(y[1], -1),
        options={"output": "age"},
    ),
    "several outputs, none named": Kind(
        lambda: plain(two_outputs), refused=r"`output` name one.*species, age"
    ),
    "several outputs, a score of all": Kind(
        lambda: plain(two_outputs), top, lambda y: y[0][:, 1] * y[1][:, 0],
        options={"score": lambda y: y[0][:, 1] * y[1][:, 0]},
    ),
    "segmentation": Kind(
        lambda: plain(segmentation), named("fine"),
        lambda y: tf.reduce_sum(y[..., 2] * REGION, (1, 2)) / REGION.sum(),
        options={"score": scores.region_mean(2, REGION)},
    ),
    "segmentation, at an inner layer": Kind(
        lambda: plain(segmentation), top,
        lambda y: tf.reduce_sum(y[..., 2] * REGION, (1, 2)) / REGION.sum(),
        options={"score": scores.region_mean(2, REGION), "layer": "top"},
    ),
    "segmentation that ends in a softmax": Kind(
        lambda: plain(lambda x: segmentation(x, "softmax")), named("fine"),
        lambda y: tf.reduce_mean(tf.math.log(y[..., 2] / y[..., 0]), (1, 2)),
        options={"score": lambda y: ops.mean(y[..., 2] - y[..., 0], axis=(1, 2))},
    ),
    "segmentation without a score": Kind(
        lambda: plain(segmentation), refused=r"\(batch, classes\).*region_mean"
    ),
    "regression": Kind(
        lambda: plain(lambda x: L.Dense(2)(L.Flatten()(x))), top, lambda y: y[:, 1],
        options={"score": scores.value(1)},
    ),
    "embedding": Kind(
        lambda: plain(lambda x: L.UnitNormalization()(L.Dense(4)(pooled(x)))), top,
        lambda y: tf.linalg.matvec(y, WANTED / np.linalg.norm(WANTED)),
        options={"score": scores.similarity(WANTED)},
    ),
    "one logit, against the positive class": Kind(
        lambda: plain(lambda x: L.Dense(1)(pooled(x))), top, lambda y: -y[:, 0],
        options={"score": scores.binary_logit(positive=False)},
    ),
    "one class and not another": Kind(
        lambda: plain(lambda x: L.Dense(3)(L.Flatten()(x))), top, lambda y: y[:, 2] - y[:, 0],
        options={"score": scores.difference(2, 0)},
    ),
    "subclassed model": Kind(lambda: called(Subclassed()), top),
    "subclassed model, never called": Kind(Subclassed, refused="once it was called"),
    "subclassed model that branches on values": Kind(
        lambda: called(Subclassed(branches=True)), refused="cannot be traced with symbolic tensors"
    ),
    "channels first, turned inside": Kind(
        lambda: first_channels((3, 32, 32)), refused=r"channels last.*takes images \(3, 32, 32\)"
    ),
    "signal": Kind(signal, refused="no map"),
    "film": Kind(film, refused="no map"),
}  # fmt: skip
