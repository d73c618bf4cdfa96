import numpy as np

from fcam_tf.losses import Entropy, entropy


def test_in_bits():
    logits = np.zeros((2, 3, 3, 2), np.float32)
    logits[1, ..., 0] = np.log(3)
    quarter = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    np.testing.assert_allclose(entropy(logits), [1, quarter], rtol=1e-6)


def test_certain_is_zero_not_nan():
    logits = np.float32([[[[1e5, -1e5]]]])
    np.testing.assert_array_equal(entropy(logits), [0])


def test_class():
    logits = np.zeros((2, 3, 3, 4), np.float32)
    loss = Entropy.from_config(Entropy(weight=0.25).get_config())
    np.testing.assert_allclose(loss(np.zeros(2), logits), 0.25 * 2, rtol=1e-6)
