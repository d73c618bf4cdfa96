import keras
import numpy as np

from fcam_tf.models.epoch import Epoch


def test_keeps_its_number_until_it_is_set():
    epoch = Epoch()
    assert float(epoch.result()) == 1
    epoch.update_state(7)
    epoch.reset_state()  # as fit and evaluate do
    assert float(epoch.result()) == 7


def test_shows_in_a_compiled_step_and_is_no_weight():
    class Model(keras.Sequential):
        def __init__(self):
            super().__init__([keras.Input((1,)), keras.layers.Dense(1)])
            self.epoch = Epoch()

        def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
            return self.epoch.value * keras.ops.mean(y_pred * 0 + 1)

    model = Model()
    model.compile("sgd")
    x = np.zeros((2, 1))
    found = []
    for number in (1, 3):  # one trace serves both
        model.epoch.update_state(number)
        found.append(model.train_on_batch(x, x, return_dict=True)["loss"])
    np.testing.assert_allclose(found, [1, 2])  # the mean so far
    assert len(model.weights) == 2
