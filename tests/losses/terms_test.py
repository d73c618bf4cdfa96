import numpy as np
import pytest
import tensorflow as tf

from fcam_tf.losses import (
    IGNORED,
    cross_entropy,
    entropy,
    extended_log_barrier,
    partial_cross_entropy,
    size_constraint,
)

GOLDEN = {
    1: {
        -50176: -10.823292,
        -25088: -10.130145,
        -5: -1.609438,
        -1: 0,
        -0.5: 0.5,
        0: 1,
        0.5: 1.5,
    },
    2: {-5: -0.804719, -0.25: 0.693147, 0: 1.193147, 0.5: 2.193147},
    10: {-5: -0.160944, -0.01: 0.460517, 0: 0.560517},
}


def test_seeds_by_hand():
    logits = np.zeros((1, 1, 3, 2), np.float32)
    logits[0, 0, 0] = [0, np.log(3)]  # object with probability 3/4
    logits[0, 0, 1] = [np.log(9), 0]  # background with probability 9/10
    seeds = np.array([[[1, 0, IGNORED]]])
    expected = -(np.log(0.75) + np.log(0.9)) / 2
    np.testing.assert_allclose(partial_cross_entropy(logits, seeds), [expected], rtol=1e-6)


def test_mean_of_seeds_is_that_of_all_labelled_pixels():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 4, 5, 2)).astype(np.float32)
    seeds = rng.choice([0, 1, IGNORED], size=(3, 4, 5))
    seeds[1] = IGNORED
    seeds[2, 0, 0] = 1
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    picked = [-logs[n, y, x, seeds[n, y, x]] for n, y, x in np.argwhere(seeds != IGNORED)]
    values = partial_cross_entropy(logits, seeds)
    np.testing.assert_allclose(np.mean(values), np.mean(picked), rtol=1e-5)
    assert np.asarray(values)[1] == 0


@pytest.mark.parametrize("scale", [1e-3, 1, 30, 1e4, 1e30])
def test_seeds_cost_what_the_softmax_gives(scale):
    rng = np.random.default_rng(0)
    logits = tf.Variable(scale * rng.normal(size=(2, 9, 9, 2)).astype(np.float32))
    seeds = rng.choice([0, 1, IGNORED], size=(2, 9, 9))
    number = np.count_nonzero(seeds != IGNORED)
    with tf.GradientTape(persistent=True) as tape:
        found = tf.reduce_sum(partial_cross_entropy(logits, seeds)) / 2
        logs = tf.nn.log_softmax(logits)
        chosen = tf.where(seeds == 1, logs[..., 1], logs[..., 0])
        expected = -tf.reduce_sum(tf.where(seeds == IGNORED, 0.0, chosen)) / number
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    gradients = tape.gradient(found, logits), tape.gradient(expected, logits)
    np.testing.assert_allclose(*gradients, rtol=1e-5, atol=1e-6 / number)


def test_no_labels_cost_nothing_and_pull_nowhere():
    logits = tf.Variable(np.ones((2, 3, 3, 2), np.float32))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(partial_cross_entropy(logits, tf.fill((2, 3, 3), IGNORED)))
    assert loss.numpy() == 0
    assert not tape.gradient(loss, logits).numpy().any()


def test_ignored_pixels_have_no_gradient():
    seeds = np.full((1, 2, 2), IGNORED)
    seeds[0, 0, 0] = 1
    logits = tf.Variable(np.full((1, 2, 2, 2), 1e4, np.float32))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(partial_cross_entropy(logits, seeds))
    gradient = tape.gradient(loss, logits).numpy()[0]
    np.testing.assert_allclose(gradient[0, 0], [0.5, -0.5], rtol=1e-6)
    gradient[0, 0] = 0
    assert not gradient.any()


@pytest.mark.parametrize("t", GOLDEN)
def test_golden_barrier(t):
    found = extended_log_barrier(list(GOLDEN[t]), t)
    np.testing.assert_allclose(found, list(GOLDEN[t].values()), atol=2e-6)


@pytest.mark.parametrize("t", [1.0, 3.0])
def test_barrier_goes_on_straight(t):
    values = tf.Variable([-1 / t**2 - 1e-4, -1 / t**2 + 1e-4, 0.0, 5.0])
    with tf.GradientTape() as tape:
        barrier = tf.reduce_sum(extended_log_barrier(values, t))
    slopes = tape.gradient(barrier, values).numpy()
    np.testing.assert_allclose(slopes, [t, t, t, t], rtol=2e-3)


def test_golden_size_of_half():
    (loss,) = 0.1 * size_constraint(np.full((1, 224, 224, 2), 0.5, np.float32))
    assert abs(float(loss) + 1.0130145) < 1e-5


def test_gradient_pushes_towards_half():
    object_map = np.full((1, 8, 8), 0.2)
    maps = tf.Variable(np.stack([1 - object_map, object_map], axis=-1).astype(np.float32))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(size_constraint(maps, 2.0))
    background, foreground = tape.gradient(loss, maps).numpy()[0, 0, 0]
    np.testing.assert_allclose(background, -1 / (4 * 64 * 0.8), rtol=1e-5)
    np.testing.assert_allclose(foreground, -1 / (4 * 64 * 0.2), rtol=1e-5)


def test_a_class_that_vanished_has_a_finite_loss_and_gradient():
    maps = tf.Variable(np.tile(np.float32([1, 0]), (1, 4, 4, 1)))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(size_constraint(maps))
    assert np.isfinite(loss)
    assert tape.gradient(loss, maps).numpy()[0, 0, 0, 1] == -0.5


def test_sizes_of_each_image_by_itself():
    maps = np.random.default_rng(0).dirichlet([1, 1], size=(3, 5, 5)).astype(np.float32)
    together = size_constraint(maps, 1.5)
    alone = [size_constraint(maps[n : n + 1], 1.5)[0] for n in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_entropy_in_bits():
    logits = np.zeros((2, 3, 3, 2), np.float32)
    logits[1, ..., 0] = np.log(3)
    quarter = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    np.testing.assert_allclose(entropy(logits), [1, quarter], rtol=1e-6)


def test_entropy_of_what_is_certain_is_zero_not_nan():
    logits = np.float32([[[[1e5, -1e5]]]])
    np.testing.assert_array_equal(entropy(logits), [0])


def test_cross_entropy_of_classes_that_are_known():
    logits = np.log(np.float32([[1, 3], [9, 1], [1, 1]]))
    found = cross_entropy(np.array([1, 0, -1]), logits)
    np.testing.assert_allclose(found, [-np.log(0.75), -np.log(0.9), 0], rtol=1e-5)


def test_unknown_classes_cost_nothing():
    logits = np.log([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
    found = cross_entropy(np.array([2, 0, -1]), logits)
    np.testing.assert_allclose(found, [-np.log(0.25), -np.log(0.1), 0], rtol=1e-6)
