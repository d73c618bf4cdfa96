import keras
import numpy as np
import pytest

from fcam_tf.models import preprocessing

PIXEL = np.array([[[[10.0, 100.0, 250.0]]]], "float32")
EXPECTED = {
    "UNIT": [10 / 255, 100 / 255, 250 / 255],
    "SYMMETRIC": [10 / 127.5 - 1, 100 / 127.5 - 1, 250 / 127.5 - 1],
    "CAFFE": [250 - 103.939, 100 - 116.779, 10 - 123.68],  # blue first
    "LITE": [(10 - 127) / 128, (100 - 127) / 128, (250 - 127) / 128],
}


def build(name):
    images = keras.Input((None, None, 3))
    return keras.Model(images, getattr(preprocessing, name)(images))


@pytest.mark.parametrize("name", EXPECTED)
def test_by_hand(name):
    np.testing.assert_allclose(build(name)(PIXEL)[0, 0, 0], EXPECTED[name], rtol=1e-5)


@pytest.mark.parametrize(("name", "mode"), [("CAFFE", "caffe"), ("SYMMETRIC", "tf")])
def test_equals_keras_applications(name, mode):
    images = np.random.default_rng(0).uniform(0, 255, (2, 4, 5, 3)).astype("float32")
    theirs = keras.applications.imagenet_utils.preprocess_input(images.copy(), mode=mode)
    np.testing.assert_allclose(build(name)(images), theirs, atol=1e-4)


@pytest.mark.parametrize("name", EXPECTED)
def test_float32_under_mixed_precision(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = build(name)
    finally:
        keras.config.set_dtype_policy(before)
    fine = PIXEL + 0.01  # float16 would round it away
    assert model(fine).dtype == "float32"
    assert np.all(model(fine).numpy() != model(PIXEL).numpy())


@pytest.mark.parametrize("name", EXPECTED)
def test_the_zero_colour_becomes_zero(name):
    colour = np.float32(getattr(preprocessing, name).zero_colour)
    np.testing.assert_allclose(build(name)(colour[None, None, None]), 0, atol=1e-5)
