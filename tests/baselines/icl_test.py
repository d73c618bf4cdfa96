import keras
import numpy as np
import pytest
import tensorflow as tf

from fcam_tf import models
from fcam_tf.baselines.icl import ICL, ConsistentAttention, ContrastiveAttention

# Attention after min-max, by cell: 1 (most telling), 0.6 (object), 0.3, 0 (background).
MEANS = np.log(np.array([0.8, 0.68, 0.59, 0.5]) / (1 - np.array([0.8, 0.68, 0.59, 0.5])))
FEATURES = np.stack([MEANS + 1, MEANS - 1], -1).reshape(1, 2, 2, 2).astype(np.float32)


def block(drop_rate=1.0, seed=None, **options):
    layer = ContrastiveAttention({"drop_rate": drop_rate, "low": 0.1, **options}, 2, seed)
    layer(FEATURES)
    layer.project.set_weights([np.eye(2, dtype=np.float32)])
    return layer


def test_starts_as_the_identity_with_the_sigmoid_of_the_mean():
    features, attention = block()(FEATURES)
    np.testing.assert_allclose(features, FEATURES, atol=1e-6)
    np.testing.assert_allclose(np.asarray(attention).ravel(), [0.8, 0.68, 0.59, 0.5], rtol=1e-5)


def test_erases_the_most_telling_part_and_the_background():
    features, _ = block(drop_rate=1.0)(FEATURES, training=True)
    kept = np.array([[0, 1], [1, 0]])[None, ..., None]
    np.testing.assert_allclose(features, FEATURES * kept, atol=1e-6)


def test_or_weighs_by_the_attention():
    features, attention = block(drop_rate=0.0)(FEATURES, training=True)
    np.testing.assert_allclose(features, FEATURES * np.asarray(attention)[..., None], rtol=1e-5)


def test_one_choice_for_the_whole_batch_at_the_given_rate():
    layer = block(drop_rate=0.75, seed=0)
    batch = np.repeat(FEATURES, 4, axis=0)
    draw = tf.function(lambda: layer(batch, training=True)[0])
    erased = []
    for _ in range(200):
        zero = (np.asarray(draw())[:, 0, 0] == 0).all(-1)
        assert zero.all() or not zero.any()
        erased.append(zero.all())
    assert abs(np.mean(erased) - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 200)


def test_triplet_teaches_features_and_embedding():
    layer, features = block(), tf.Variable(FEATURES)
    with tf.GradientTape() as tape:
        layer(features, training=True)
        (loss,) = layer.losses
    for gradient in tape.gradient(loss, [features, layer.project.kernel]):
        assert np.abs(gradient).max() > 0


def test_triplet_of_regions_by_hand():
    layer = block(contrast=2.0)
    layer(FEATURES, training=True)
    cells = FEATURES.reshape(4, 2).astype(np.float64)
    unit = lambda v: v / np.linalg.norm(v)  # noqa: E731
    whole, dropped, background = unit(cells[:2].mean(0)), unit(cells[1]), unit(cells[3])
    near, far = ((dropped - whole) ** 2).sum(), ((dropped - background) ** 2).sum()
    (loss,) = layer.losses
    np.testing.assert_allclose(loss, 2.0 * max(near - far + 1, 0), rtol=1e-4)


def test_images_without_all_regions_do_not_count():
    # The object is the most telling cell alone: nothing is left.
    layer = block(foreground=0.95, high=0.95)
    layer(FEATURES, training=True)
    np.testing.assert_array_equal(layer.losses, [0.0])
    constant = block()
    constant(np.ones_like(FEATURES), training=True)
    np.testing.assert_array_equal(constant.losses, [0.0])


def test_non_local_block_by_numpy():
    keras.utils.set_random_seed(1)
    layer = ContrastiveAttention({})
    x = np.random.default_rng(0).normal(size=(2, 3, 2, 4)).astype(np.float32)
    layer(x)
    layer.out.set_weights([np.random.default_rng(1).normal(size=(1, 1, 2, 4)), np.ones(4)])
    flat = x.reshape(2, 6, 4)
    query, key, value = (
        flat @ part.get_weights()[0][0, 0] for part in (layer.query, layer.key, layer.value)
    )
    similar = np.exp(query @ key.transpose(0, 2, 1))
    gathered = similar / similar.sum(-1, keepdims=True) @ value
    expected = x + (gathered @ layer.out.get_weights()[0][0, 0] + 1).reshape(x.shape)
    np.testing.assert_allclose(layer(x)[0], expected, rtol=1e-4, atol=1e-5)


def test_consistency_pulls_early_attention_towards_the_last():
    layer = ConsistentAttention(3.0)
    top = np.ones((1, 1, 1, 2), np.float32)
    early = tf.Variable(np.full((1, 2, 2), 0.5, np.float32))
    last = tf.Variable(np.full((1, 1, 1), 0.9, np.float32))
    with tf.GradientTape() as tape:
        np.testing.assert_array_equal(layer([top, early, last], training=True), top)
        (loss,) = layer.losses
    np.testing.assert_allclose(loss, 3 * 0.4**2, rtol=1e-5)
    gradients = tape.gradient(loss, [early, last])
    np.testing.assert_allclose(gradients[0], np.full((1, 2, 2), 3 * 2 * -0.4 / 4), rtol=1e-5)
    assert gradients[1] is None


def test_nothing_happens_at_inference_or_frozen():
    layer, consistent = block(), ConsistentAttention(1.0)
    layer.trainable = consistent.trainable = False
    features, attention = layer(FEATURES, training=True)
    np.testing.assert_allclose(features, FEATURES, atol=1e-6)
    consistent([FEATURES, attention, attention], training=True)
    assert layer.losses == consistent.losses == []


def test_keeps_pretrained_features_and_trains_its_blocks(tiny_backbone):
    keras.utils.set_random_seed(0)
    plain = models.Classifier(tiny_backbone, 2, weights=None)
    icl = models.Classifier(tiny_backbone, 2, weights=None, baseline="icl")
    for layer in plain.layers:
        icl.get_layer(layer.name).set_weights(layer.get_weights())
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    np.testing.assert_allclose(
        icl.predict(images, verbose=0), plain.predict(images, verbose=0), atol=1e-4
    )
    icl.freeze(head=False)
    names = {w.path.split("/")[0] for w in icl.trainable_variables}
    assert names == {"logits", "attention_1", "attention_2", "attention_3"}
    before = [w.numpy() for w in icl.trainable_variables]
    icl.fit(images, np.array([0, 1]), epochs=2, verbose=0)
    moved = {
        w.path.split("/")[0]
        for a, w in zip(before, icl.trainable_variables, strict=True)
        if (a != w.numpy()).any()
    }
    assert moved == names


@pytest.mark.parametrize("options", [{"high": 2.0}, {"contrast": -1.0}, {"low": 0.6}])
def test_refuses(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ICL(**options)
