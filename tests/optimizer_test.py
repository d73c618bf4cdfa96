import keras
import numpy as np
import pytest

from fcam_tf.optimizer import CoupledAdam, CoupledSGD

L = keras.layers


def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential([L.Input((3,)), L.Dense(4, name="body"), L.Dense(1, name="logits")])


def steps(optimizer, gradients, start):
    variable = keras.Variable(start, name="w")
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return variable.numpy()


@pytest.mark.parametrize("nesterov", [True, False])
def test_torch_s_rule_across_a_drop_of_the_rate(nesterov):
    gradients = np.random.default_rng(0).normal(size=(9, 3)).astype("float32")
    optimizer = CoupledSGD(0.05, 0.9, nesterov, l2=0.1)
    w, velocity = np.ones(3), np.zeros(3)
    variable = keras.Variable(np.ones(3, "float32"), name="w")
    for step, gradient in enumerate(gradients):
        rate = 0.05 if step < 4 else 0.005
        g = gradient + 0.1 * w
        velocity = 0.9 * velocity + g
        w = w - rate * (g + 0.9 * velocity if nesterov else velocity)
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        np.testing.assert_allclose(variable.numpy(), w, rtol=1e-5)


def test_without_momentum():
    found = steps(CoupledSGD(0.5, 0.0, l2=1.0), np.float32([[1.0], [2.0]]), np.float32([4.0]))
    assert found.tolist() == [-0.25]  # 4 - (1 + 4) / 2 = 1.5, then 1.5 - (2 + 1.5) / 2


def test_adam_s_rule():
    gradients = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    w, mean, square = np.ones(3), np.zeros(3), np.zeros(3)
    for t, gradient in enumerate(gradients, 1):
        g = gradient + 0.1 * w
        mean, square = 0.8 * mean + 0.2 * g, 0.999 * square + 0.001 * g**2
        w = w - 0.05 * (mean / (1 - 0.8**t)) / (np.sqrt(square / (1 - 0.999**t)) + 1e-7)
    found = steps(CoupledAdam(0.05, 0.8, l2=0.1), gradients, np.ones(3, "float32"))
    np.testing.assert_allclose(found, w, rtol=1e-4)


def test_groups_learn_at_their_own_rate():
    # A gradient of one everywhere: what moved tells the rate.
    optimizer = CoupledSGD(0.1, 0.0, nesterov=False, multipliers={"lo": 3.0, "logits/bias": 5.0})
    net = model()
    before = [w.numpy() for w in net.trainable_variables]
    optimizer.build(net.trainable_variables)
    optimizer.apply([keras.ops.ones(w.shape) for w in net.trainable_variables])
    moved = [
        float((b - w.numpy()).mean()) for b, w in zip(before, net.trainable_variables, strict=True)
    ]
    np.testing.assert_allclose(moved, [0.1, 0.1, 0.3, 0.5], rtol=1e-4)


def test_in_a_compiled_step():
    net = model()
    net.compile(CoupledSGD(0.1, multipliers={"body": 0.0}), loss="mse", jit_compile=False)
    body = net.get_layer("body").get_weights()[0]
    head = net.get_layer("logits").get_weights()[0]
    net.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)
    np.testing.assert_array_equal(net.get_layer("body").get_weights()[0], body)
    assert (net.get_layer("logits").get_weights()[0] != head).any()


def test_round_trip():
    optimizer = CoupledSGD(0.1, l2=1e-4, multipliers={"logits": 10.0}, global_clipnorm=1.0)
    again = CoupledSGD.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()


def test_bad_decay():
    with pytest.raises(ValueError, match="`l2`"):
        CoupledSGD(l2=-1)


@pytest.mark.parametrize(
    ("prefix", "path", "fits"),
    [
        ("dense_1", "dense_1/kernel", True),
        ("dense_1", "dense_10/kernel", False),
        ("dense_1", "model/dense_1/kernel", True),
        ("dense_1", "model/dense_10/kernel", False),
        ("v2_stack_3", "v2_stack_3_block1_deepwise/kernel", True),
        ("v2_stack_3", "v2_stack_30_block1/kernel", False),
        ("block", "block1_conv/kernel", True),
        ("conv", "my_conv/kernel", False),
        ("dense/", "dense/kernel", True),
        ("dense/", "dense_1/kernel", False),
        ("logits/b", "logits/bias", True),
    ],
)
def test_prefixes_cut_no_number(prefix, path, fits):
    assert CoupledSGD(multipliers={prefix: 2.0}).multiplier(path) == (2.0 if fits else 1.0)
