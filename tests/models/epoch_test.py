import keras
import tensorflow as tf

from fcam_tf.models.epoch import Epoch


def test_keeps_its_number_until_it_is_set():
    epoch = Epoch()
    assert float(epoch.result()) == 1
    epoch.update_state(7)
    epoch.reset_state()  # as fit and evaluate do
    assert float(epoch.result()) == 7


def test_a_compiled_step_sees_the_number_of_now():
    epoch = Epoch()
    step = tf.function(lambda: 2 * epoch.value)
    found = []
    for number in (1, 3):
        epoch.update_state(number)
        found.append(float(step()))
    assert found == [2, 6]
    assert step.experimental_get_tracing_count() == 1


def test_is_no_weight_of_its_model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.epoch = Epoch()
    assert len(model.weights) == 2
    assert model.epoch in model.metrics
