import numpy as np
import tensorflow as tf

from fcam_tf.baselines.base import draw_key


def uniform(seed, salt):
    return float(tf.random.stateless_uniform((), draw_key(seed, salt)))


def test_salts_and_seeds_tell_draws_apart():
    assert uniform((0, 1), 0) == uniform((0, 1), 0)
    values = {uniform(seed, salt) for seed in ((0, 1), (0, 2), (1, 1)) for salt in (0, 1)}
    assert len(values) == 6
    assert uniform(None, 0) != uniform(None, 0)


def test_a_shuffle_holds_each_number_once():
    order = tf.random.experimental.stateless_shuffle(tf.range(9), draw_key((3, 4), 0))
    np.testing.assert_array_equal(np.sort(order), np.arange(9))
