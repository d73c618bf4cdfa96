import keras
import numpy as np
import pytest
import tensorflow as tf

from fcam_tf import cams, models
from fcam_tf.baselines.acol import ACoL, AdversarialHead


class Fixed(keras.layers.Layer):
    """A branch that gives its two input channels, each times a number, as the class maps."""

    def __init__(self, factors):
        super().__init__()
        self.factors = self.add_weight(shape=(2,), initializer="ones")
        self.factors.assign(factors)

    def call(self, x):
        return x * self.factors


# Two classes on 2 x 2 cells: class 0 peaks at the top left, class 1 at the bottom right.
TOP = np.array([[[[4, 0], [2, 1]], [[0, 1], [0, 2]]]], np.float32)


def head(first=(1, 1), second=(1, 1), threshold=0.7):
    made = AdversarialHead(2, 4, threshold)
    made.first, made.second = Fixed(first), Fixed(second)
    made([TOP])
    return made


def test_logits_are_means_of_the_first_branchs_maps():
    logits, scores = head(first=(2, 3))([TOP])
    np.testing.assert_allclose(logits, [[12 / 4, 12 / 4]])
    np.testing.assert_allclose(scores, TOP * [2, 3])


def test_second_branch_does_not_see_where_the_first_one_is_sure():
    # Class 0 after min-max: 1, 0.5, 0, 0; from 0.7 on the top left cell is erased, then the second
    # branch's map of class 0 is 0, 2, 0, 0 and of class 1 is 0, 1, 1, 2 (all times its factors).
    parts = head(second=(3, 5))
    outputs = parts([TOP])
    loss = parts.losses_of([TOP], outputs[1:], np.array([0], np.int32))
    logits = np.array([3 * 2 / 4, 5 * 4 / 4])
    expected = np.log(np.exp(logits).sum()) - logits[0]
    np.testing.assert_allclose(loss, [expected], rtol=1e-6)


def test_erases_from_the_threshold_on():
    parts = head(threshold=0.5)  # the cell at exactly 0.5 goes as well
    outputs = parts([TOP])
    loss = parts.losses_of([TOP], outputs[1:], np.array([0], np.int32))
    logits = np.array([0, 3 / 4])
    np.testing.assert_allclose(loss, [np.log(np.exp(logits).sum()) - logits[0]], rtol=1e-6)


def test_map_is_the_larger_of_both():
    parts = head()
    maps = parts.class_map(TOP, np.array([0], np.int32))
    # First: 1, 0.5, 0, 0. Second, without the top left cell: 0, 2, 0, 0 after min-max 0, 1, 0, 0.
    np.testing.assert_allclose(maps, [[[1, 1], [0, 0]]])


def test_predicted_class_is_the_first_branchs():
    parts = head(first=(1, 10))  # means 1.5 and 10
    images = keras.Input((2, 2, 2))
    cam = cams.HeadClassMap(keras.Model(images, parts([keras.layers.Identity()(images)])[0]))
    predicted, _ = cam.raw_maps(TOP, np.array([-1], np.int32))
    np.testing.assert_allclose(predicted, parts.class_map(TOP, np.array([1], np.int32)))


def test_no_gradient_through_the_erased_region():
    parts = head()
    with tf.GradientTape() as tape:
        loss = parts.losses_of([TOP], parts([TOP])[1:], np.array([0], np.int32))
    first, second = tape.gradient(loss, [parts.first.factors, parts.second.factors])
    assert first is None
    assert np.abs(second).min() > 0


def test_no_gradient_into_features_that_were_erased():
    parts, features = head(), tf.Variable(TOP)
    with tf.GradientTape() as tape:
        loss = parts.losses_of([features], parts([features])[1:], np.array([0], np.int32))
    found = np.asarray(tape.gradient(loss, features))[0]
    np.testing.assert_array_equal(found[0, 0], [0, 0])  # the cell where the first one is sure
    assert (np.abs(found.reshape(4, 2)[1:]) > 0).all()


def test_a_classifier_trains_both_branches_and_saves_them(tiny_backbone, tmp_path):
    keras.utils.set_random_seed(0)
    options = {"filters": 4, "threshold": 0.6}
    classifier = models.Classifier(tiny_backbone, 2, weights=None, baseline="acol", options=options)
    layer = classifier.get_layer("logits")
    before = [w.numpy() for w in layer.weights]
    assert len(before) == 12  # kernels and biases of three convolutions, twice
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    classifier.fit(images, np.array([0, 1]), verbose=0)
    assert all((a != b.numpy()).any() for a, b in zip(before, layer.weights, strict=True))
    classifier.save(tmp_path / "c.keras")
    loaded = models.load(tmp_path / "c.keras")
    assert loaded.baseline == ACoL(**options)
    maps = [cams.get("acol", model)(images, [0, 1]) for model in (classifier, loaded)]
    np.testing.assert_array_equal(*maps)


@pytest.mark.parametrize("options", [{"threshold": -1.0}, {"filters": -1}])
def test_refuses(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ACoL(**options)


@pytest.mark.parametrize("filters", [-5, -1])
def test_the_message_prints_what_came(filters):
    with pytest.raises(ValueError, match=f"`filters` must be 0 or more. Received: {filters}"):
        ACoL(filters=filters)
    assert ACoL(filters=0).filters == 0
