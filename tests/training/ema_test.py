import keras
import numpy as np
import pytest

from fcam_tf.training.ema import MovingAverage


@pytest.fixture
def model():
    """A number that trains and one that does not, a batch normalisation, and a random generator."""
    frozen = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    frozen.trainable = False
    norm, drop = keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)
    last = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name="last")
    return keras.Sequential([keras.Input((1,)), frozen, norm, drop, last])


def follow(model, momentum, values=None):
    average = MovingAverage(momentum, values)
    average.set_model(model)
    average.on_train_begin()
    return average


def test_the_average_decays_by_the_step(model):
    kernel, moving = model.get_layer("last").kernel, model.layers[1].moving_mean
    average = follow(model, 0.75)
    for step, value in enumerate((5.0, 9.0)):
        kernel.assign([[value]])
        moving.assign([10 * value])
        average.on_train_batch_end(step)
    # 1 -> 1 + (5 - 1) / 4 = 2 -> 2 + (9 - 2) / 4; 0 -> 50 / 4 = 12.5 -> 12.5 + (90 - 12.5) / 4
    with average.in_model():
        assert kernel.numpy() == [[3.75]]
        assert moving.numpy() == [31.875]
    assert kernel.numpy() == [[9.0]]
    assert moving.numpy() == [90.0]
    assert len(average.values()) == 5  # gamma, beta, mean, variance; the kernel that trains


def test_it_goes_on_from_where_it_was(model):
    first = follow(model, 0.5)
    model.get_layer("last").kernel.assign([[3.0]])
    first.on_train_batch_end(0)
    second = follow(model, 0.5, first.values())
    second.on_train_batch_end(1)
    assert second.values()[-1] == [[2.5]]  # 1 -> 2 -> 2.5


def test_the_weights_come_back_after_an_error(model):
    average = follow(model, 0.5)
    model.get_layer("last").kernel.assign([[3.0]])

    def fail():
        with average.in_model():
            assert model.get_layer("last").kernel.numpy() == [[1.0]]
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail()
    np.testing.assert_array_equal(model.get_layer("last").kernel, [[3.0]])
