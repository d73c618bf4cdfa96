import keras
import numpy as np
import pytest
import tensorflow as tf

from fcam_tf import models
from fcam_tf.baselines.spg import SPG, SelfProducedGuidance, confident, guided
from tests.baselines.conftest import BACKBONES

PIXELS = np.array([[[0.05, 0.2, 0.5, 0.8, 1.0]]], np.float32)


@pytest.mark.parametrize(
    ("high", "low", "fewest", "targets", "known"),
    [
        (0.7, 0.1, 1, [0, 0, 0, 1, 1], [1, 0, 0, 1, 1]),
        (0.8, 0.5, 1, [0, 0, 0, 0, 1], [1, 1, 0, 0, 1]),  # above and below, not at
        (0.9, 0.1, 2, [0, 0, 0, 1, 1], [1, 0, 0, 1, 1]),  # one is too few: above 0.7 of the maximum
        (0.3, 0.6, 1, [0, 0, 0, 1, 1], [1, 1, 1, 1, 1]),  # background wins
    ],
)
def test_confident_pixels(high, low, fewest, targets, known):
    found = confident(PIXELS, high, low, fewest)
    np.testing.assert_array_equal(found[0], [[targets]])
    np.testing.assert_array_equal(found[1], [[known]])


def test_few_pixels_are_counted_by_image():
    many = np.ones((1, 6, 5), np.float32)  # thirty
    few = np.full((1, 6, 5), 0.75, np.float32)
    few[0, 0, 0] = 0.9
    targets, _ = confident(np.concatenate([many, few]), 0.8, 0.1)
    assert np.asarray(targets)[0].sum() == 30
    assert np.asarray(targets)[1].sum() == 30  # 0.75 > 0.63, though not above 0.8


@pytest.mark.parametrize(("sure", "known"), [(29, 36), (30, 30)])
def test_thirty_pixels_are_enough(sure, known):
    maps = np.full((1, 6, 6), 0.75, np.float32)  # above 0.7 of the maximum, not above 0.8
    maps.reshape(-1)[:sure] = 0.9
    targets, found = confident(maps, 0.8, 0.1)
    assert (np.asarray(targets).sum(), np.asarray(found).sum()) == (known, known)


def test_loss_is_the_mean_over_known_pixels_of_the_batch():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 8, 8)).astype(np.float32)
    guide = rng.random((2, 8, 8)).astype(np.float32)
    guide[1] = 0.5  # of the second image nothing is known but what 0.7 of its maximum gives
    targets, known = (np.asarray(x) for x in confident(guide, 0.7, 0.2))
    p = 1 / (1 + np.exp(-scores.astype(np.float64)))
    entropy = -(targets * np.log(p) + (1 - targets) * np.log(1 - p))
    expected = (entropy * known).sum() / known.sum()
    found = np.asarray(guided(scores, guide, 0.7, 0.2))
    assert found.shape == (2,)
    np.testing.assert_allclose(found.mean(), expected, rtol=1e-5)


def test_nothing_known_gives_zero():
    scores = np.ones((1, 3, 3), np.float32)
    guide = np.zeros((1, 3, 3), np.float32)  # neither above 0.7 of 0 nor below 0
    np.testing.assert_array_equal(guided(scores, guide, 0.7, 0.0), [0.0])


def small_head():
    keras.utils.set_random_seed(0)
    head = SelfProducedGuidance(
        num_classes=2,
        side_filters=3,
        top_filters=3,
        bounds={"class": (0.7, 0.1), "side": (0.5, 0.05), "fused": (0.7, 0.1)},
    )
    rng = np.random.default_rng(0)
    shapes = ((2, 8, 8, 4), (2, 4, 4, 5), (2, 4, 4, 6))
    return head, [rng.random(shape).astype(np.float32) for shape in shapes]


def test_logits_are_means_of_the_class_maps():
    head, maps = small_head()
    logits, scores, *sides = head(maps)
    kernel, bias = head.classes.get_weights()
    np.testing.assert_allclose(scores, maps[-1] @ kernel[0, 0] + bias, rtol=1e-5)
    np.testing.assert_allclose(logits, np.asarray(scores).mean((1, 2)), rtol=1e-5)
    assert [x.shape for x in sides] == [(2, 8, 8), (2, 4, 4), (2, 4, 4)]
    one = head.class_map(maps[-1], np.array([1, 0], np.int32))
    np.testing.assert_allclose(one, np.stack([scores[0, ..., 1], scores[1, ..., 0]]), rtol=1e-5)


def test_losses_train_the_branches_and_not_what_guides_them():
    head, maps = small_head()
    with tf.GradientTape() as tape:
        outputs = head(maps)
        loss = tf.reduce_mean(head.losses_of(maps, outputs[1:], np.array([0, 1], np.int32)))
    weights = head.classes.weights + head.b1.weights + head.b2.weights + head.c.weights
    gradients = tape.gradient(loss, weights)
    assert gradients[0] is None  # the class maps only guide
    assert gradients[1] is None
    assert all(np.abs(g).max() > 0 for g in gradients[2:])


def test_who_guides_whom_by_hand():
    head, maps = small_head()
    outputs = head(maps)
    scores, b1, b2, c = (np.asarray(x, np.float64) for x in outputs[1:])
    labels = np.array([1, 0], np.int32)
    assert head.size == 224

    def full(x):
        x = tf.image.resize(x[..., None].astype(np.float32), (224, 224))
        return np.asarray(x, np.float64)[..., 0]

    def entropy(logits, guide, high, low):
        targets, known = (np.asarray(x) for x in confident(guide.astype(np.float32), high, low))
        p = 1 / (1 + np.exp(-logits))
        found = -(targets * np.log(p) + (1 - targets) * np.log(1 - p)) * known
        return found.sum() / known.sum()

    chosen = np.stack([scores[0, ..., 1], scores[1, ..., 0]])
    low, high = chosen.min((1, 2), keepdims=True), chosen.max((1, 2), keepdims=True)
    attention, b1, b2, c = (full(x) for x in ((chosen - low) / (high - low), b1, b2, c))
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    expected = (
        entropy(b2, attention, 0.7, 0.1)
        + entropy(b1, sigmoid(b2), 0.501, 0.499)
        + entropy(c, (sigmoid(b1) + sigmoid(b2)) / 2, 0.5002, 0.498)
    )
    head.bounds["side"] = (0.501, 0.499)  # untrained branches are near 0.5
    head.bounds["fused"] = (0.5002, 0.498)
    found = np.asarray(head.losses_of(maps, outputs[1:], labels)).mean()
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_branches_start_where_the_table_says(backbone):
    classifier = models.Classifier(backbone, 2, weights=None, baseline="spg")
    inputs = classifier.get_layer("logits").input
    names = [x._keras_history.operation.name for x in inputs]
    assert tuple(names[:2]) == models.BACKBONES[backbone].sides
    assert inputs[2] is classifier.feature_maps["P5"]


@pytest.mark.parametrize("options", [{"class_high": 1.2}, {"side_low": 0.9, "side_high": 0.5}])
def test_refuses(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SPG(**options)
