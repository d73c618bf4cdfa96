import keras
import numpy as np
import pytest
import tensorflow as tf

from fcam_tf import cams
from fcam_tf.graphs.resize import resize

X = np.random.default_rng(0).uniform(-1, 1, (2, 6, 8, 3)).astype("float32")


@pytest.fixture(scope="module")
def coarse():
    """Maps of half the image's size, of a model that a mirrored image does not fit."""
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(5, 3, strides=2, padding="same", activation="relu")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    draw = np.random.default_rng(1)
    model.set_weights([draw.normal(size=w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("name", ["cam", "layercam", "eigencam", "scorecam", "ablationcam"])
def test_scales_and_flips_are_averaged(tiny, coarse, name):
    plain = cams.get(name, coarse)
    large = resize(X, (12, 16)).numpy()
    label = np.argmax(coarse(X), -1)  # also of the copies
    copies = [
        plain(large, label),
        np.asarray(plain(large[:, :, ::-1], label))[:, :, ::-1],
        resize(plain(X, label)[..., None], (6, 8))[..., 0],
        resize(np.asarray(plain(X[:, :, ::-1], label))[:, :, ::-1, None], (6, 8))[..., 0],
    ]
    cam = cams.get(name, coarse, scales=(1, 2), flip=True)
    maps, logits = cam.maps_and_logits(X)
    assert not cam.needs_only_features
    np.testing.assert_allclose(maps, tiny.min_max(np.mean(copies, 0)), atol=1e-4)
    np.testing.assert_allclose(logits, coarse(X), atol=1e-5)
    assert np.abs(cams.get(name, coarse, scales=(1, 2))(X) - maps).max() > 1e-3


def test_a_smaller_copy_does_not_coarsen_the_map(coarse):
    assert cams.get("gradcam", coarse, scales=(0.5, 1))(X).shape == (2, 3, 4)
    same = cams.get("gradcam", coarse, scales=[1], flip=False)
    np.testing.assert_array_equal(same(X), cams.get("gradcam", coarse)(X))


def test_scales_in_a_graph_of_any_size(coarse):
    cam = cams.get("layercam", coarse, scales=(1, 1.5), flip=True)
    call = tf.function(cam.full_size, input_signature=[tf.TensorSpec([None, None, None, 3])])
    np.testing.assert_allclose(call(X), cam.full_size(X), atol=1e-5)


@pytest.mark.parametrize(
    ("scales", "message"),
    [((2,), "must contain 1"), ((1, 0), "`scales` must be"), ((1, -2), "`scales` must be")],
)
def test_wrong_scales(coarse, scales, message):
    with pytest.raises(ValueError, match=message):
        cams.get("cam", coarse, scales=scales)


def test_a_model_of_one_size_takes_no_scales(tiny):
    model = tiny.build(size=(6, 8))
    with pytest.raises(ValueError, match=r"`scales` must be \(1,\).* 6x8 pixels.*None, None"):
        cams.get("cam", model, scales=(1, 2))
    assert cams.get("cam", model, flip=True)(X).shape == (2, 6, 8)
