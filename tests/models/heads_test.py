"""F-CAM on classifiers whose classes are not one of many: one sigmoid, and several."""

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812 - as in the package
from keras import ops

from fcam_tf.losses import FCAMLoss
from fcam_tf.models import FCAM
from fcam_tf.models.targets import coarse_maps
from fcam_tf.predict.localizer import Localizer
from tests.models.tiny import photos

SIZE = 16
IMAGES = photos(4, SIZE).astype("float32")
SEEDS_ONLY = {"crf": 0.0, "size": 0.0}
# Keras builds the optimizer when it loads a model that was saved before any fit.
pytestmark = pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")


def build(units, end="sigmoid", between=lambda x: x, seed=0):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((SIZE, SIZE, 3))
    x = L.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="top")(inputs / 255)
    x = between(L.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, L.Dense(units, activation=end, name="scores")(x))
    draw = np.random.default_rng(1)
    for w in model.trainable_weights:
        w.assign(draw.normal(0, 0.5, w.shape))
    return model


def from_classifier(model, **options):
    return FCAM.from_classifier(model, method="layercam", decoder_filters=(4,), **options)


@pytest.mark.parametrize("between", [None, "hidden"])
def test_one_sigmoid_is_two_classes(between, tmp_path):
    model = build(1, between=L.BatchNormalization() if between else lambda x: x)
    fcam = from_classifier(model, class_names=("no", "yes"))
    there = np.asarray(model(IMAGES))
    fcam.save(tmp_path / "a.keras")
    for each in (fcam, keras.models.load_model(tmp_path / "a.keras")):
        assert (each.num_classes, each.activation) == (2, "softmax")
        found = each.localize(IMAGES)
        np.testing.assert_allclose(found.probabilities, np.hstack([1 - there, there]), atol=1e-5)
        np.testing.assert_array_equal(found.labels, there[:, 0] > 0.5)
        # What teaches is the map that explains the classifier itself.
        expected = Localizer(model, "layercam")(IMAGES, 1).heatmaps
        found = Localizer(each, "layercam")(IMAGES, 1).heatmaps
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_labels_of_one_sigmoid_train_it():
    fcam = from_classifier(build(1))
    fcam.unfreeze()
    fcam.compile("sgd", FCAMLoss(seeds=0.0, entropy=1e-9, **SEEDS_ONLY))
    z = np.diff(fcam(IMAGES)["logits"], axis=1)[:, 0]
    labels = np.array([0, 1, 1, 0])
    expected = np.log1p(np.exp(np.where(labels, -z, z))).mean()  # binary cross-entropy
    found = fcam.evaluate(IMAGES, labels, verbose=0, return_dict=True)
    np.testing.assert_allclose(found["classification_loss"], expected, rtol=1e-5)
    with pytest.raises(Exception, match=r"class numbers in \[0, 2\)"):
        fcam.train_on_batch(IMAGES, np.array([0, 1, 2, 0]))


@pytest.mark.traced
def test_one_form_of_labels_in_all_fits():
    fcam = from_classifier(build(3))
    fcam.compile("sgd", FCAMLoss(**SEEDS_ONLY))
    fcam.fit(IMAGES, np.eye(3, dtype=int)[[0, 1, 2, 0]], verbose=0)
    with pytest.raises(ValueError, match=r"one form in all calls.*Compile the model again"):
        fcam.fit(IMAGES, np.array([0, 1, 2, 0]), verbose=0)
    fcam.compile("sgd", FCAMLoss(**SEEDS_ONLY))
    fcam.fit(IMAGES, np.array([0, 1, 2, 0]), verbose=0)
    with pytest.raises(Exception, match=r"(?s)1 for each class that an image shows.*0\.5"):
        fcam.test_on_batch(IMAGES, np.full((4, 3), 0.5))


def test_several_sigmoids(tmp_path):
    model = build(3)
    fcam = from_classifier(model)
    there = np.asarray(model(IMAGES))
    fcam.save(tmp_path / "a.keras")
    for each in (fcam, keras.models.load_model(tmp_path / "a.keras")):
        assert (each.num_classes, each.activation) == (3, "sigmoid")
        np.testing.assert_allclose(each.localize(IMAGES).probabilities, there, atol=1e-5)
        assert Localizer(each, "layercam").activation == "sigmoid"
        assert each.teacher.split.activation == "sigmoid"  # as score methods need
        scores = Localizer(each, "layercam")(IMAGES, 2).scores
        np.testing.assert_allclose(scores, there[:, 2], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "pooling"),
    [("cam", L.GlobalAveragePooling2D), ("layercam", L.GlobalMaxPooling2D)],
)
def test_all_classes_of_an_image_teach(name, pooling):
    inputs = keras.Input((SIZE, SIZE, 3))
    x = L.Conv2D(6, 3, strides=2, padding="same", activation="relu")(inputs / 255)
    model = keras.Model(inputs, L.Dense(3, "sigmoid")(pooling()(x)))
    fcam = FCAM.from_classifier(model, method=name, decoder_filters=(4,))
    labels = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, -1]])
    given = ops.convert_to_tensor(labels)
    found = coarse_maps(fcam.teacher, IMAGES, given, None, fcam(IMAGES, training=True))
    for image, row, maps in zip(IMAGES, labels, found, strict=True):
        shown = [fcam.teacher.full_size(image[None], k)[0] for k in np.flatnonzero(row > 0)]
        expected = np.max(shown, axis=0) if shown else np.zeros((SIZE, SIZE))
        np.testing.assert_allclose(maps, expected, atol=1e-5)


def test_rows_of_labels_train_several_sigmoids():
    fcam = from_classifier(build(3))
    fcam.unfreeze()
    fcam.compile("sgd", FCAMLoss(**SEEDS_ONLY))
    labels = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, -1]])
    p = fcam.localize(IMAGES).probabilities
    each = -np.log(np.where(labels == 1, p, 1 - p))
    expected = np.mean([row[known].mean() for row, known in zip(each, labels >= 0, strict=True)])
    logs = fcam.evaluate(IMAGES, labels, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["classification_loss"], expected, rtol=1e-4)
    history = fcam.fit(IMAGES, labels, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    with pytest.raises(Exception, match="1 for each class that an image shows"):
        fcam.train_on_batch(IMAGES, labels * 2)


def test_a_class_number_is_the_only_class_of_its_image():
    fcam = from_classifier(build(3))
    fcam.unfreeze()
    fcam.compile("sgd", FCAMLoss(**SEEDS_ONLY))
    logs = fcam.evaluate(IMAGES, np.array([1, -1, -1, -1]), verbose=0, return_dict=True)
    p = fcam.localize(IMAGES).probabilities[0]
    expected = -np.log([1 - p[0], p[1], 1 - p[2]]).mean() / 4
    np.testing.assert_allclose(logs["classification_loss"], expected, rtol=1e-4)


def test_rows_of_labels_need_sigmoids():
    fcam = from_classifier(build(3, "softmax"))
    with pytest.raises(ValueError, match="rows of several classes need a classifier that ends"):
        fcam.fit(IMAGES, np.eye(3, dtype=int)[[0, 1, 2, 0]], verbose=0)


class Block(L.Layer):
    """A layer of the user's, without an argument ``training``, and with dropout in it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.dropout = L.Dropout(0.5)

    def call(self, x):
        return self.dropout(x)


@pytest.mark.parametrize(
    "noise",
    [
        lambda: L.Dropout(0.5),
        lambda: L.SpatialDropout2D(0.5),
        lambda: L.GaussianNoise(1.0),
        lambda: L.AlphaDropout(0.5),
        Block,
        lambda: L.BatchNormalization(momentum=0.1),
    ],
    ids=["dropout", "spatial dropout", "noise", "alpha dropout", "a layer of layers", "statistics"],
)
def test_what_is_frozen_infers(noise):
    inputs = keras.Input((SIZE, SIZE, 3))
    x = noise()(L.Conv2D(6, 3, strides=2, padding="same", activation="relu")(inputs / 255))
    model = keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(x)))
    fcam = from_classifier(model)
    before = [np.array(w) for w in fcam.classifier.weights]
    given = fcam(IMAGES, training=True)
    np.testing.assert_allclose(given["logits"], fcam(IMAGES)["logits"], atol=1e-5)
    fcam.fit(IMAGES, np.zeros(4), verbose=0)
    for w, old in zip(fcam.classifier.weights, before, strict=True):
        np.testing.assert_array_equal(w, old)
    fcam.unfreeze()
    given = fcam(IMAGES, training=True)
    assert np.abs(given["logits"] - fcam(IMAGES)["logits"]).max() > 1e-3  # and trains again


def test_augmentation_in_a_classifier_never_moves_its_image():
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.Sequential([L.RandomFlip(), L.RandomTranslation(0.4, 0.4)])(inputs)
    x = L.Conv2D(6, 3, strides=2, padding="same", activation="relu")(x / 255)
    fcam = from_classifier(keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(x))))
    for _ in range(2):  # frozen, and not
        given = fcam(IMAGES, training=True)
        np.testing.assert_allclose(
            given["features"], fcam.teacher.split.activations(IMAGES), atol=1e-5
        )
        fcam.unfreeze()
