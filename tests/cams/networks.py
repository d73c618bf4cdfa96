"""Models as people bring them, small: those that `kinds` lists."""

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L  # noqa: N812 - as in the package
from keras import ops
from keras.src.applications import convnext as convnext_family

SQUARE, WIDE = (16, 16, 3), (16, 24, 3)
hub = keras_hub.models


def plain(outputs, shape=SQUARE):
    """Return a model of what is built on its images."""
    images = keras.Input(shape)
    return keras.Model(images, outputs(images))


def trunk(x):
    x = L.Conv2D(4, 3, padding="same", activation="relu")(x / 255)
    return L.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="top")(x)


def pooled(x):
    return L.GlobalAveragePooling2D()(x)


def scores(x, units=3, **options):
    return L.Dense(units, name="scores", **options)(x)


def adapted():
    layer = L.Normalization()
    layer.adapt(np.random.default_rng(0).normal(100, 50, (9, *SQUARE)).astype("float32"))
    return layer


def augmented(x):
    # Called without `training=False`, these layers are on.
    return keras.Sequential([L.RandomFlip(), L.RandomRotation(0.3), L.RandomContrast(0.5)])(x)


def nested(x):
    inputs = keras.Input(SQUARE)
    return keras.Model(inputs, trunk(inputs), name="backbone")(x)


def twice(x):
    inputs = keras.Input(SQUARE)
    shared = keras.Model(inputs, trunk(inputs))
    return L.Add(name="sum")([shared(x), shared(255 - x)])


def excited(x):
    gate = L.Dense(6, activation="sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(x))
    return L.Multiply(name="excited")([x, gate])


def attention(x):
    """Two heads of attention by `matmul`, whose tensors have four axes as maps do."""
    _, height, width, channels = x.shape
    heads = ops.transpose(ops.reshape(x, (-1, height * width, 2, channels // 2)), (0, 2, 1, 3))
    weights = ops.softmax(ops.matmul(heads, ops.transpose(heads, (0, 1, 3, 2))))
    mixed = ops.transpose(ops.matmul(weights, heads), (0, 2, 1, 3))
    mixed = L.Identity(name="mixed")(ops.reshape(mixed, (-1, height * width, channels)))
    return ops.mean(mixed, axis=1)


class Cosine(L.Dense):
    """A head that is more than its kernel."""

    def call(self, inputs):
        kernel = ops.normalize(self.kernel, axis=0)
        return 10 * ops.matmul(ops.normalize(inputs, axis=-1), kernel)


def cosine(x):
    return Cosine(3, use_bias=False)(x)


class Block(L.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.convolution = L.Conv2D(6, 3, strides=2, activation="relu")

    def call(self, inputs):
        return self.convolution(inputs)


def of_layers(x):
    return Block(name="block")(x)


def lora(x):
    layer = L.Dense(3, name="scores")
    y = layer(x)
    layer.enable_lora(2)
    return y


def under(policy, outputs):
    """Return a model in which all layers have a dtype policy."""
    keras.config.set_dtype_policy(policy)
    try:
        return plain(outputs)
    finally:
        keras.config.set_dtype_policy("float32")


def vit(*, image=WIDE, patch=4, **options):
    backbone = hub.ViTBackbone(
        image_shape=image, patch_size=patch, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=12
    )
    return hub.ViTImageClassifier(backbone, 3, **options)


def deit():
    backbone = hub.DeiTBackbone(
        image_shape=WIDE, patch_size=4, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=12
    )
    return hub.DeiTImageClassifier(backbone, 3)


SWIN = hasattr(hub, "SwinTransformerBackbone")  # not in keras-hub 0.25


def swin():
    if not SWIN:
        pytest.skip("this keras-hub has no Swin")
    backbone = hub.SwinTransformerBackbone(
        image_shape=(32, 48, 3), patch_size=4, embed_dim=8, depths=[1, 2], num_heads=[2, 2],
        window_size=4,
    )  # fmt: skip
    return hub.SwinTransformerImageClassifier(backbone, 3)


def convnext():
    images = keras.Input((64, 64, 3))
    base = convnext_family.ConvNeXt(
        depths=[0, 1, 0, 0], projection_dims=[4, 4, 6, 6], weights=None, input_shape=(64, 64, 3),
        include_top=False,
    )  # fmt: skip
    x = pooled(L.Identity(name="top")(base(images)))
    return keras.Model(images, L.Dense(3)(L.LayerNormalization()(x)))


def preprocessed():
    preprocessor = hub.ViTImageClassifierPreprocessor(
        keras_hub.layers.ImageConverter(image_size=WIDE[:2], scale=1 / 255, offset=-0.5)
    )
    return vit(preprocessor=preprocessor)


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


def blocks(images, extra, number=3):
    """A transformer as people write it, with attention by `ops.matmul`."""
    x = L.Conv2D(8, 4, strides=4, name="patches")(images / 255)
    x = ops.reshape(x, (-1, WIDE[0] * WIDE[1] // 16, 8))
    x = Prepend(extra)(x) if extra else x
    for i in range(number):
        x = block(x, f"block{i}")
    return x


def tokens(extra, head):
    images = keras.Input(WIDE)
    return keras.Model(images, scores(head(blocks(images, extra))))


def tokens_and_numbers():
    images, meta = keras.Input(WIDE), keras.Input((4,))
    both = L.Concatenate()([first(blocks(images, 1, 2)), meta])
    return keras.Model([images, meta], scores(both))


def first(x):
    return x[:, 0]


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


def hidden(images):
    x = ops.reshape(L.Conv2D(8, 4, strides=4, name="patches")(images), (-1, 16, 8))
    return L.Dense(3)(Encoder(name="encoder")(Prepend(1)(x))[:, 0])


def text_line(images):
    """Columns of a line of text, in a sequence whose length happens to be a square."""
    x = L.Conv2D(4, 3, strides=(4, 1), padding="same", activation="relu")(images)
    x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, 16, 16))
    return L.Dense(3)(L.LSTM(5)(L.Identity(name="columns")(x)))


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
    x = trunk(x)
    return [L.Dense(3, name="species")(pooled(x)), L.Dense(2, name="age")(L.Flatten()(x))]


def segmentation(x, activation=None):
    x = L.Conv2D(5, 3, padding="same", activation="tanh")(trunk(x))
    return L.Conv2D(3, 1, activation=activation, name="logits")(L.UpSampling2D(2, name="fine")(x))


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


def first_channels():
    images = keras.Input((3, 16, 16))
    return keras.Model(images, L.Dense(3)(pooled(trunk(L.Permute((2, 3, 1))(images)))))


def signal():
    x = keras.Input((16, 3))
    return keras.Model(x, L.Dense(3)(L.GlobalAveragePooling1D()(L.Conv1D(4, 3, padding="same")(x))))


def film():
    x = keras.Input((4, 16, 16, 3))
    return keras.Model(x, L.Dense(3)(L.GlobalAveragePooling3D()(L.Conv3D(4, 3)(x))))
