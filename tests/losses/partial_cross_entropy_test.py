import numpy as np
import tensorflow as tf

from fcam_tf.losses import IGNORE, PartialCrossEntropy, partial_cross_entropy


def test_by_hand():
    logits = np.zeros((1, 1, 3, 2), np.float32)
    logits[0, 0, 0] = [0, np.log(3)]  # object with probability 3/4
    logits[0, 0, 1] = [np.log(9), 0]  # background with probability 9/10
    seeds = np.array([[[1, 0, IGNORE]]])
    expected = -(np.log(0.75) + np.log(0.9)) / 2
    np.testing.assert_allclose(partial_cross_entropy(logits, seeds), [expected], rtol=1e-6)


def test_its_mean_is_that_of_all_labelled_pixels():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 4, 5, 2)).astype(np.float32)
    seeds = rng.choice([0, 1, IGNORE], size=(3, 4, 5))
    seeds[1] = IGNORE
    seeds[2, 0, 0] = 1
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    picked = [-logs[n, y, x, seeds[n, y, x]] for n, y, x in np.argwhere(seeds != IGNORE)]
    values = partial_cross_entropy(logits, seeds)
    np.testing.assert_allclose(np.mean(values), np.mean(picked), rtol=1e-5)
    assert np.asarray(values)[1] == 0


def test_no_labels_cost_nothing_and_pull_nowhere():
    logits = tf.Variable(np.ones((2, 3, 3, 2), np.float32))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(partial_cross_entropy(logits, tf.fill((2, 3, 3), IGNORE)))
    assert loss.numpy() == 0
    assert not tape.gradient(loss, logits).numpy().any()


def test_ignored_pixels_have_no_gradient():
    seeds = np.full((1, 2, 2), IGNORE)
    seeds[0, 0, 0] = 1
    logits = tf.Variable(np.full((1, 2, 2, 2), 1e4, np.float32))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(partial_cross_entropy(logits, seeds))
    gradient = tape.gradient(loss, logits).numpy()[0]
    np.testing.assert_allclose(gradient[0, 0], [0.5, -0.5], rtol=1e-6)
    gradient[0, 0] = 0
    assert not gradient.any()


def test_class_weighs_and_round_trips():
    rng = np.random.default_rng(0)
    logits, seeds = rng.normal(size=(2, 4, 4, 2)), rng.choice([0, 1, IGNORE], size=(2, 4, 4))
    loss = PartialCrossEntropy.from_config(PartialCrossEntropy(weight=3.0).get_config())
    expected = 3 * np.mean(partial_cross_entropy(logits, seeds))
    np.testing.assert_allclose(loss(seeds, logits), expected, rtol=1e-5)
