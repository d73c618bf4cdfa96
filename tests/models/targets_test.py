import keras
import numpy as np
import pytest
import tensorflow as tf

from fcam_tf.models.targets import Epoch, labels_of, planes

LABELS = np.array([2, 0, -1])


@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None], LABELS.astype("float32")])
def test_labels(labels):
    found = labels_of({"label": labels}, 4)
    assert found.dtype == "int32"
    np.testing.assert_array_equal(found, LABELS)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"label": None}, "`y` must be class numbers.*Received: None"),
        ({"cam": np.zeros((3, 8, 8))}, "as 'label'.*Received: cam"),
        ({"label": keras.Input((4,))}, r"`y` must give one class number.*\(None, 4\).*argmax"),
        ({"label": np.zeros((3, 1, 1))}, "`y` must give one class number"),
    ],
)
def test_bad_labels(targets, message):
    with pytest.raises(ValueError, match=message):
        labels_of(targets, 4)


def test_planes():
    maps = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(planes("cam", maps), maps)
    np.testing.assert_array_equal(planes("cam", maps[..., None]), maps)


@pytest.mark.parametrize("shape", [(3, 8, 8, 3), (3, 64)])
def test_bad_planes(shape):
    with pytest.raises(ValueError, match=r"`y` must hold 'cam' as \(B, h, w\)"):
        planes("cam", np.zeros(shape))


def test_the_epoch_keeps_its_number_until_it_is_set():
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


def test_the_epoch_is_no_weight_of_its_model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.epoch = Epoch()
    assert len(model.weights) == 2
    assert model.epoch in model.metrics
