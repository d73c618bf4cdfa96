"""How models end; their maps are compared in `init_test`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L  # noqa: N812 - as in the package
from keras import ops

from fcam_tf import cams
from fcam_tf.models import FCAM
from tests.cams import kind
from tests.cams.kind import Kind
from tests.cams.kinds import SIGMOIDS
from tests.cams.networks import SQUARE, Cosine, adapted, plain, pooled, scores, trunk
from tests.models.tiny import photos

IMAGES = photos(3, 16).astype("float32")


def build(make, shape=SQUARE):
    return kind.build(Kind(lambda: plain(make, shape)))


@pytest.mark.parametrize("name", [name for name in SIGMOIDS if "int8" not in name])
def test_heads_of_sigmoids(name):
    model = kind.build(SIGMOIDS[name])
    units = model.get_layer("scores").units
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
    with pytest.warns(
        UserWarning, match=r"outputs lie in \[0, 1\].*the probabilities of a sigmoid"
    ):
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


@pytest.mark.parametrize("end", ["tanh", "softsign"])
@pytest.mark.parametrize("units", [1, 3])
def test_what_saturates_is_taken_off(end, units):
    """A kernel so large that no gradient is left behind it."""
    bounded = build(lambda x: scores(pooled(trunk(x)), units, activation=end))
    free = build(lambda x: scores(pooled(trunk(x)), units))
    kernel = 1000 * np.random.default_rng(0).normal(size=(6, units))
    for model in (bounded, free):
        model.set_weights([*bounded.get_weights()[:-2], kernel, np.zeros(units)])
    maps, logits = cams.get("gradcam", bounded).maps_and_logits(IMAGES, 0)
    expected, free_logits = cams.get("gradcam", free).maps_and_logits(IMAGES, 0)
    np.testing.assert_allclose(maps, expected, atol=1e-6)
    np.testing.assert_allclose(logits, free_logits, rtol=1e-6)
    assert np.max(expected) == 1


def test_scores_of_the_users_own_take_what_the_model_gives():
    model = build(lambda x: scores(pooled(trunk(x)), 1, activation="tanh"))
    cam = cams.get("gradcam", model, score=lambda outputs: outputs[:, 0])
    given = cam.maps_and_logits(IMAGES)[1]
    np.testing.assert_allclose(given, model(IMAGES, training=False), atol=1e-6)


def test_a_hard_sigmoid_counts_as_a_sigmoid():
    model = build(lambda x: scores(pooled(trunk(x)), 1, activation="hard_sigmoid"))
    with pytest.warns(UserWarning, match=r"lie in \[0, 1\]"):
        cam = cams.get("gradcam", model)
    _, logits = cam.maps_and_logits(IMAGES)
    found = np.asarray(cams.probabilities(logits, cam.split.activation))[:, 1:]
    np.testing.assert_allclose(found, model(IMAGES, training=False), atol=1e-5)


def test_a_log_softmax_is_not_taken_for_probabilities():
    model = build(lambda x: scores(pooled(trunk(x)), activation="log_softmax"))
    assert not cams.ending_of(model).gives_probabilities


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
