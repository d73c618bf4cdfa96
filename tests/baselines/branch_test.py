import numpy as np

from fcam_tf.baselines.branch import Branch


def test_relu_stands_between_and_where_asked():
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 2)).astype(np.float32)
    for last_relu in (False, True):
        branch = Branch([(5, 3), (3, 1)], last_relu=last_relu)
        found = np.asarray(branch(x))
        first, second = branch.convolutions
        hidden = np.maximum(np.asarray(first(x)), 0)
        kernel, bias = second.get_weights()
        expected = hidden @ kernel[0, 0] + bias
        if last_relu:
            expected = np.maximum(expected, 0)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        assert (found < 0).any() != last_relu
