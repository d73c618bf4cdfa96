import keras
import numpy as np
import pytest
import tensorflow as tf

from fcam_tf import models
from fcam_tf.baselines.adl import ADL, AttentionDropout
from tests.baselines.conftest import BACKBONES

# Channel means 1, 2 / 4, 0.5: with threshold 0.5 the drop mask hides 2 and 4 (2 is not below 2).
FEATURES = np.array([[[[0, 2], [1, 3]], [[4, 4], [0, 1]]]], np.float32)
ATTENTION = FEATURES.mean(-1, keepdims=True)


def test_drop_mask_hides_from_the_threshold_on():
    layer = AttentionDropout(drop_rate=1.0, threshold=0.5)
    kept = np.array([[[1], [0]], [[0], [1]]])[None]
    np.testing.assert_array_equal(layer(FEATURES, training=True), FEATURES * kept)


def test_importance_is_the_sigmoid_of_the_mean():
    layer = AttentionDropout(drop_rate=0.0, threshold=0.5)
    expected = FEATURES / (1 + np.exp(-ATTENTION))
    np.testing.assert_allclose(layer(FEATURES, training=True), expected, rtol=1e-6)


def test_one_choice_for_the_whole_batch_at_the_given_rate():
    layer = AttentionDropout(drop_rate=0.75, threshold=0.5, seed=0)
    batch = np.repeat(FEATURES, 4, axis=0)
    draw = tf.function(lambda: layer(batch, training=True))
    dropped = []
    for _ in range(200):
        zero = (np.asarray(draw())[:, 1, 0] == 0).all(-1)
        assert zero.all() or not zero.any()
        dropped.append(zero.all())
    assert abs(np.mean(dropped) - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 200)


def test_each_image_has_its_own_threshold():
    layer = AttentionDropout(drop_rate=1.0, threshold=0.9)
    two = np.concatenate([FEATURES, FEATURES * 100])
    changed = np.asarray(layer(two, training=True))
    np.testing.assert_allclose(changed[1], changed[0] * 100)


def test_nothing_changes_at_inference_or_frozen():
    layer = AttentionDropout(drop_rate=0.0, threshold=0.5)
    np.testing.assert_array_equal(layer(FEATURES), FEATURES)
    layer.trainable = False
    np.testing.assert_array_equal(layer(FEATURES, training=True), FEATURES)


def test_gradient_goes_through_the_importance():
    layer = AttentionDropout(drop_rate=0.0, threshold=0.5)
    x = tf.Variable(FEATURES)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(x, training=True))
    s = 1 / (1 + np.exp(-ATTENTION))
    # d/dx_k of sum_c x_c s(a), a the mean of two channels: s + (sum_c x_c) s (1 - s) / 2
    expected = s + FEATURES.sum(-1, keepdims=True) * s * (1 - s) / 2
    np.testing.assert_allclose(
        tape.gradient(total, x), np.broadcast_to(expected, FEATURES.shape), rtol=1e-5
    )


def test_survives_its_config():
    layer = AttentionDropout(drop_rate=0.6, threshold=0.8, seed=3, name="attention_1")
    assert AttentionDropout.from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_sits_at_three_places_of_the_backbone(backbone):
    classifier = models.Classifier(backbone, 2, weights=None, baseline="adl")
    names = models.BACKBONES[backbone].attention
    graph = {layer.name: layer for layer in classifier.layers}
    for number, name in enumerate(names, 1):
        layer = graph[f"attention_{number}"]
        assert layer.input._keras_history.operation.name == name
    assert classifier.feature_maps["P5"].shape[-1] in (1280, 2048, 1024)


def test_trains_the_plain_network(tiny_backbone):
    keras.utils.set_random_seed(0)
    plain = models.Classifier(tiny_backbone, 2, weights=None)
    adl = models.Classifier(tiny_backbone, 2, weights=None, baseline="adl")
    assert adl.count_params() == plain.count_params()
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    adl.set_weights(plain.get_weights())
    np.testing.assert_allclose(adl.predict(images, verbose=0), plain.predict(images, verbose=0))
    assert (
        np.asarray(adl(images, training=True)) != np.asarray(plain(images, training=True))
    ).any()


@pytest.mark.parametrize("option", ["drop_rate", "threshold"])
def test_refuses(option):
    with pytest.raises(ValueError, match=option):
        ADL(**{option: 2.0})
