import numpy as np
import pytest
import tensorflow as tf

from fcam_tf.losses import SizeConstraint, extended_log_barrier, size_constraint

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


def test_golden_half():
    loss = SizeConstraint(weight=0.1)(np.zeros(1), np.full((1, 224, 224, 2), 0.5, np.float32))
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


def test_each_image_by_itself():
    maps = np.random.default_rng(0).dirichlet([1, 1], size=(3, 5, 5)).astype(np.float32)
    together = size_constraint(maps, 1.5)
    alone = [size_constraint(maps[n : n + 1], 1.5)[0] for n in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_round_trip():
    config = SizeConstraint(weight=0.3, t=2.0).get_config()
    assert SizeConstraint.from_config(config).get_config() == config
