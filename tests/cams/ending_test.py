"""Maps of models as people bring them, against gradients of the model as `predict` runs it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L  # noqa: N812 - as in the package
from keras import ops

from fcam_tf import cams
from fcam_tf.models import FCAM
from tests.models.tiny import photos

SIZE = 16
IMAGES = photos(3, SIZE).astype("float32")


def trunk(x):
    x = L.Conv2D(4, 3, padding="same", activation="relu")(x / 255)
    return L.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="top")(x)


def pooled(x):
    return L.GlobalAveragePooling2D()(x)


def scores(x, units=3, **options):
    return L.Dense(units, name="scores", **options)(x)


class Cosine(L.Dense):
    """A head that is more than its kernel."""

    def call(self, inputs):
        kernel = ops.normalize(self.kernel, axis=0)
        return 10 * ops.matmul(ops.normalize(inputs, axis=-1), kernel)


class Block(L.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.convolution = L.Conv2D(6, 3, strides=2, activation="relu")

    def call(self, inputs):
        return self.convolution(inputs)


def adapted():
    layer = L.Normalization()
    layer.adapt(np.random.default_rng(0).normal(100, 50, (9, SIZE, SIZE, 3)).astype("float32"))
    return layer


def augmented(x):
    # Called without `training=False`, these layers are on.
    return keras.Sequential([L.RandomFlip(), L.RandomRotation(0.3), L.RandomContrast(0.5)])(x)


def nested(x):
    inputs = keras.Input((SIZE, SIZE, 3))
    return keras.Model(inputs, trunk(inputs), name="backbone")(x)


def attention(x):
    """Two heads of attention by `matmul`, whose tensors have four axes as maps do."""
    heads = ops.transpose(ops.reshape(x, (-1, SIZE**2 // 4, 2, 3)), (0, 2, 1, 3))
    weights = ops.softmax(ops.matmul(heads, ops.transpose(heads, (0, 1, 3, 2))))
    mixed = ops.transpose(ops.matmul(weights, heads), (0, 2, 1, 3))
    mixed = L.Identity(name="mixed")(ops.reshape(mixed, (-1, SIZE**2 // 4, 6)))
    return ops.mean(mixed, axis=1)


def twice(x):
    inputs = keras.Input((SIZE, SIZE, 3))
    shared = keras.Model(inputs, trunk(inputs))
    return L.Add(name="sum")([shared(x), shared(255 - x)])


def excited(x):
    gate = L.Dense(6, activation="sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(x))
    return L.Multiply(name="excited")([x, gate])


def lora(x):
    layer = L.Dense(3, name="scores")
    y = layer(x)
    layer.enable_lora(2)
    return y


# What is built on an input, and the layer whose map is explained.
MODELS = {
    "augmentation in a nested model": (lambda x: scores(pooled(trunk(augmented(x)))), "top"),
    "augmentation": (lambda x: scores(pooled(trunk(L.RandomContrast(0.9)(x)))), "top"),
    "adapted normalization": (lambda x: scores(pooled(trunk(adapted()(x)))), "top"),
    "dropout": (lambda x: scores(L.Dropout(0.5)(pooled(L.SpatialDropout2D(0.5)(trunk(x))))), "top"),
    "nested": (lambda x: scores(pooled(nested(x))), "top"),
    "a sub-model used twice": (lambda x: scores(pooled(twice(x))), "sum"),
    "a layer of layers": (lambda x: scores(pooled(Block(name="block")(x))), "block"),
    "squeeze and excite": (lambda x: scores(pooled(excited(trunk(x)))), "excited"),
    "softmax by TensorFlow": (lambda x: scores(pooled(trunk(x)), activation=tf.nn.softmax), "top"),
    "log-softmax": (lambda x: scores(pooled(trunk(x)), activation="log_softmax"), "top"),
    "softmax operation": (lambda x: ops.softmax(scores(pooled(trunk(x)))), "top"),
    "softmax layer": (lambda x: L.Softmax()(scores(pooled(trunk(x)))), "top"),
    "temperature": (lambda x: L.Softmax()(scores(pooled(trunk(x))) / 2.0), "top"),
    "cosine head": (lambda x: Cosine(3, use_bias=False)(pooled(trunk(x))), "top"),
    "low-rank adapted head": (lambda x: lora(pooled(trunk(x))), "top"),
    "two dense layers": (lambda x: scores(L.Dense(5, "relu")(pooled(trunk(x)))), "top"),
    "flat head": (lambda x: scores(L.Flatten()(trunk(x))), "top"),
    "largest value": (lambda x: scores(L.GlobalMaxPooling2D()(trunk(x))), "top"),
    "mean by an operation": (lambda x: scores(ops.mean(trunk(x), axis=(1, 2))), "top"),
    "normalised features": (lambda x: scores(L.BatchNormalization()(pooled(trunk(x)))), "top"),
    "class maps": (lambda x: pooled(L.Conv2D(3, 1, name="maps")(trunk(x))), "maps"),
    "attention behind the map": (lambda x: scores(attention(trunk(x))), "mixed"),
}


def build(make, shape=(SIZE, SIZE, 3)):
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    model = keras.Model(inputs, make(inputs))
    draw = np.random.default_rng(1)
    for w in model.trainable_weights:  # of LoRA and batch statistics, too: nothing is zero
        w.assign(draw.normal(0, 0.5, w.shape))
    return model


def find(model, name):
    for layer in model._flatten_layers():
        if layer.name == name:
            return layer
    raise LookupError(name)


def layercam(model, name, x):
    """LayerCAM by a tape on the model itself: what a layer gives is noted while it runs."""
    noted, layer = {}, find(model, name)
    head = next((each for each in model.layers if each.name == "scores"), None)

    def noting(called, key):
        plain = called.call

        def call(*args, **options):
            out = plain(*args, **options)
            noted[key] = out
            if key == "scores":  # before any activation
                noted[key] = ops.matmul(args[0], called.kernel) + called.bias
            return out

        return plain, call

    plain, layer.call = noting(layer, "map")
    if head is not None:
        plain_head, head.call = noting(head, "scores")
    try:
        with tf.GradientTape() as tape:
            x = tf.convert_to_tensor(x)
            tape.watch(x)
            out = model(x, training=False)
            logits = noted.get("scores", out)
            score = tf.reduce_max(logits, axis=-1)
        gradient = tape.gradient(score, noted["map"])
    finally:
        layer.call = plain
        if head is not None:
            head.call = plain_head
    raw = np.asarray(tf.reduce_sum(tf.nn.relu(gradient) * noted["map"], -1))
    raw = np.maximum(raw, 0)
    raw = raw.reshape(-1, SIZE // 2, SIZE // 2) if raw.ndim == 2 else raw  # tokens
    low, high = raw.min((1, 2), keepdims=True), raw.max((1, 2), keepdims=True)
    return (raw - low) / np.where(high > low, high - low, 1)


@pytest.mark.parametrize("kind", MODELS)
def test_maps_are_those_of_the_model_as_it_predicts(kind):
    make, name = MODELS[kind]
    model = build(make)
    cam = cams.get("layercam", model)
    found = np.asarray(cam(IMAGES))
    assert np.ptp(found) > 0.5
    np.testing.assert_allclose(found, layercam(model, name, IMAGES), atol=1e-4)
    np.testing.assert_array_equal(cam(IMAGES), found)  # and nothing is drawn anew


@pytest.mark.parametrize("shape", [(SIZE, 24, 3), (SIZE, SIZE, 1)], ids=["wide", "grey"])
def test_inputs_of_other_shapes(shape):
    model = build(lambda x: scores(pooled(trunk(x))), shape)
    x = np.random.default_rng(0).uniform(0, 255, (2, *shape)).astype("float32")
    np.testing.assert_allclose(cams.get("layercam", model)(x), layercam(model, "top", x), atol=1e-4)


# What ends a model, given its pooled features; and what belongs to it: units, and the probability
# of each class from what comes before the end.
HEADS = {
    "a sigmoid": (lambda x: scores(x, 1, activation="sigmoid"), 1),
    "a logit": (lambda x: scores(x, 1), 1),
    "a sigmoid layer": (lambda x: L.Activation("sigmoid")(scores(x, 1)), 1),
    "sigmoids": (lambda x: scores(x, 3, activation="sigmoid"), 3),
    "sigmoid operation": (lambda x: ops.sigmoid(scores(x, 3)), 3),
    "sigmoids by TensorFlow": (lambda x: scores(x, 3, activation=tf.nn.sigmoid), 3),
}


@pytest.mark.parametrize("kind", HEADS)
def test_heads_of_sigmoids(kind):
    make, units = HEADS[kind]
    model = build(lambda x: make(pooled(trunk(x))))
    before = keras.Model(model.input, model.get_layer("scores").input)(IMAGES, training=False)
    z = before @ model.get_layer("scores").kernel + model.get_layer("scores").bias
    there = np.asarray(ops.sigmoid(z))
    expected = np.concatenate([1 - there, there], 1) if units == 1 else there
    signed = np.concatenate([-z, z], 1) if units == 1 else np.asarray(z)

    cam = cams.get("layercam", model)
    _, logits = cam.maps_and_logits(IMAGES)
    found = np.asarray(cams.probabilities(logits, cam.split.activation))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert cam.split.num_classes == max(units, 2)

    kernel = np.asarray(model.get_layer("scores").kernel)
    kernel = np.concatenate([-kernel, kernel], 1) if units == 1 else kernel
    top = np.asarray(cam.split.activations(IMAGES))
    for label in range(max(units, 2)):  # the negative class has its own evidence
        raw = np.maximum(top * np.maximum(kernel[:, label], 0), 0).sum(-1)
        low, high = raw.min((1, 2), keepdims=True), raw.max((1, 2), keepdims=True)
        expected_map = (raw - low) / np.where(high > low, high - low, 1)
        np.testing.assert_allclose(cam(IMAGES, label), expected_map, atol=1e-4)
    np.testing.assert_array_equal(cam(IMAGES), cam(IMAGES, signed.argmax(1)))


def test_the_score_of_one_unit_is_what_its_sigmoid_takes():
    """Grad-CAM++ as published tells z from z / 2."""
    kernel = np.random.default_rng(3).normal(size=(6, 1))
    one = build(lambda x: scores(pooled(trunk(x)), 1, activation="sigmoid"))
    two = build(lambda x: scores(pooled(trunk(x)), 2))
    two.set_weights([*one.get_weights()[:-2], np.hstack([-kernel, kernel]), np.zeros(2)])
    one.get_layer("scores").set_weights([kernel, np.zeros(1)])
    for name, options in {"gradcampp": {"formula": "published"}, "gradcam": {}}.items():
        maps = [cams.get(name, model, **options)(IMAGES, 1) for model in (one, two)]
        np.testing.assert_allclose(*maps, atol=1e-5)


def test_a_loss_says_that_logits_are_those_of_sigmoids():
    model = build(lambda x: scores(pooled(trunk(x))))
    assert cams.get("cam", model).split.activation == "softmax"
    for loss in ("binary_crossentropy", keras.losses.BinaryCrossentropy(from_logits=True)):
        model.compile("sgd", loss)
        assert cams.get("cam", model).split.activation == "sigmoid"
    model = build(lambda x: scores(pooled(trunk(x)), activation="softmax"))
    model.compile("sgd", "binary_crossentropy")
    assert cams.get("cam", model).split.activation == "softmax"


def test_the_softmax_of_one_unit_says_nothing():
    model = build(lambda x: scores(pooled(trunk(x)), 1, activation="softmax"))
    with pytest.raises(ValueError, match="softmax of one unit, which is 1 whatever the image"):
        cams.get("cam", model)


@pytest.mark.parametrize("units", [1, 3])
def test_opaque_sigmoids_are_warned_of(units):
    model = build(lambda x: L.Lambda(tf.nn.sigmoid)(scores(pooled(trunk(x)), units)))
    with pytest.warns(UserWarning, match=r"outputs lie in \[0, 1\].*probabilities by a sigmoid"):
        cam = cams.get("layercam", model)
    found = np.asarray(cams.probabilities(cam.maps_and_logits(IMAGES)[1], cam.split.activation))
    np.testing.assert_allclose(found[:, -units:], model(IMAGES), atol=1e-4)


def test_opaque_probabilities_are_warned_of_and_never_get_a_softmax_twice():
    model = build(lambda x: L.Lambda(tf.nn.softmax)(scores(pooled(trunk(x)))))
    with pytest.warns(UserWarning, match=r"ends in 'lambda\w*', whose outputs sum to one"):
        _, logits = cams.get("layercam", model).maps_and_logits(IMAGES)
    np.testing.assert_allclose(ops.softmax(logits), model(IMAGES), atol=1e-5)
    with pytest.warns(UserWarning, match="sum to one"):
        assert cams.ending_of(model).gives_probabilities


def test_a_log_softmax_is_not_taken_for_probabilities():
    model = build(lambda x: scores(pooled(trunk(x)), activation="log_softmax"))
    assert not cams.ending_of(model).gives_probabilities


def two_branches(x):
    one = L.Conv2D(4, 3, strides=2, name="one")(x)
    other = L.Conv2D(5, 3, strides=2, name="other")(x)
    return scores(L.Concatenate()([pooled(one), pooled(other)]))


def test_no_map_is_taken_that_the_score_does_not_pass():
    model = build(two_branches)
    with pytest.raises(ValueError, match=r"`layer` must be given.*The last of its maps are.*one"):
        cams.get("layercam", model)
    assert cams.get("layercam", model, "other")(IMAGES).shape == (3, 7, 7)


def test_channels_first_layers_are_refused():
    first = {"data_format": "channels_first"}
    model = build(
        lambda x: scores(L.GlobalAveragePooling2D(**first)(L.Conv2D(4, 3, name="c", **first)(x))),
        (3, SIZE, SIZE),
    )
    with pytest.raises(ValueError, match=r"channels last.*'c' has data_format='channels_first'"):
        cams.get("layercam", model)


def test_a_softmax_that_cannot_be_taken_off_is_refused():
    model = build(lambda x: Cosine(3, activation="softmax", use_bias=False)(pooled(trunk(x))))
    with pytest.raises(ValueError, match=r"whose softmax cannot be taken off.*Activation"):
        cams.get("layercam", model)


# Keras builds the optimizer when it loads a model that was saved before any fit.
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer:UserWarning")
def test_a_copy_in_an_fcam_is_normalised_as_its_model(tmp_path):
    model = build(lambda x: scores(pooled(trunk(adapted()(x)))))
    fcam = FCAM.from_classifier(model, decoder_filters=(4,))
    np.testing.assert_allclose(fcam(IMAGES)["logits"], model(IMAGES), atol=1e-5)
    fcam.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    np.testing.assert_allclose(loaded(IMAGES)["logits"], model(IMAGES), atol=1e-5)
