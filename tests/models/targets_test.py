import keras
import numpy as np
import pytest

from fcam_tf.models.targets import cross_entropy, labels_of, planes

LABELS = np.array([2, 0, -1])


@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None], LABELS.astype("float32")])
def test_labels(labels):
    found = labels_of({"label": labels})
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
        labels_of(targets)


def test_planes():
    maps = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(planes("cam", maps), maps)
    np.testing.assert_array_equal(planes("cam", maps[..., None]), maps)


@pytest.mark.parametrize("shape", [(3, 8, 8, 3), (3, 64)])
def test_bad_planes(shape):
    with pytest.raises(ValueError, match=r"`y` must hold 'cam' as \(B, h, w\)"):
        planes("cam", np.zeros(shape))


def test_unknown_classes_cost_nothing():
    logits = np.log([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
    found = cross_entropy(LABELS, logits)
    np.testing.assert_allclose(found, [-np.log(0.25), -np.log(0.1), 0], rtol=1e-6)
