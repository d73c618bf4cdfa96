import keras
import numpy as np
import pytest

from fcam_tf.models.vgg16 import vgg16

SIZES = {8: (28, 28, 28), 16: (28, 14, 14), 32: (28, 14, 7)}  # P3, P4, P5 at 224


@pytest.fixture(scope="module")
def models():
    def build(stride):
        images = keras.Input((None, None, 3))
        return keras.Model(images, vgg16(images, stride))

    return {stride: build(stride) for stride in SIZES}


@pytest.mark.parametrize("stride", SIZES)
def test_feature_maps(models, stride):
    shapes = models[stride].compute_output_shape((1, 224, 224, 3))
    p3, p4, p5 = SIZES[stride]
    assert shapes == {
        "P1": (1, 112, 112, 128),
        "P2": (1, 56, 56, 256),
        "P3": (1, p3, p3, 512),
        "P4": (1, p4, p4, 512),
        "P5": (1, p5, p5, 1024),
    }


def test_parameters(models):
    assert models[8].count_params() == 14_714_688 + 4_719_616


def test_features_equal_keras_applications(models):
    """At stride 32 all before conv6 is VGG16 "D" up to its last pool."""
    theirs = keras.applications.VGG16(include_top=False, weights=None)
    ours = models[32]
    for layer in theirs.layers:
        if layer.weights:
            ours.get_layer(layer.name).set_weights(layer.get_weights())
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    pooled = keras.Model(ours.input, ours.get_layer("block5_pool").output)
    np.testing.assert_allclose(pooled(x), theirs(x), rtol=1e-4, atol=1e-6)
