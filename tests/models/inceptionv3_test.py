import keras
import numpy as np
import pytest

from fcam_tf.models.inceptionv3 import inceptionv3

SIZES = {8: (29, 29), 16: (15, 15), 32: (15, 8)}  # P4, P5 at 224


@pytest.fixture(scope="module")
def models():
    def build(stride):
        images = keras.Input((None, None, 3))
        return keras.Model(images, inceptionv3(images, stride))

    return {stride: build(stride) for stride in SIZES}


@pytest.mark.parametrize("stride", SIZES)
def test_feature_maps(models, stride):
    p4, p5 = SIZES[stride]
    assert models[stride].compute_output_shape((1, 224, 224, 3)) == {
        "P1": (1, 112, 112, 64),
        "P2": (1, 57, 57, 80),
        "P3": (1, 29, 29, 288),
        "P4": (1, p4, p4, 768),
        "P5": (1, p5, p5, 1024),
    }


def test_trainable_parameters(models):
    count = sum(int(np.prod(v.shape)) for v in models[8].trainable_variables)
    spg = 16_517_120
    assert count - spg == 8_965_856
    blocks = [layer for layer in models[8].layers if layer.name.startswith("spg_a3")]
    assert sum(layer.count_params() for layer in blocks) == spg


def test_two_dropouts_of_one_half(models):
    rates = [layer.rate for layer in models[8].layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.5, 0.5]


@pytest.mark.parametrize("size", [32, 33, 34, 35])
def test_pool_is_torch_max_pool_with_ceiling(models, size):
    """3x3, stride 2, padding 1 by minus infinity, ceiling, dropping windows beyond the padding."""
    x = np.random.default_rng(size).uniform(size=(size, size)).astype("float32")
    count = -(-(size + 2 - 3) // 2) + 1
    count -= (count - 1) * 2 >= size + 1
    starts = 2 * np.arange(count) - 1
    expected = [[x[max(i, 0) : i + 3, max(j, 0) : j + 3].max() for j in starts] for i in starts]
    pad, pool = models[8].get_layer("pool1_pad"), models[8].get_layer("pool1")
    np.testing.assert_array_equal(pool(pad(x[None, :, :, None]))[0, :, :, 0], expected)


def test_layers_are_those_of_keras_applications(models):
    """The convolutions up to Mixed_6e have the kernels of the stock model, in its order."""
    theirs = keras.applications.InceptionV3(include_top=False, weights=None)
    convs = [layer for layer in theirs.layers if type(layer) is keras.layers.Conv2D]
    convs.sort(key=lambda layer: int(layer.name.rpartition("_")[2]) if "_" in layer.name else 0)
    kernels = [tuple(layer.kernel.shape) for layer in convs]
    ours = [tuple(models[8].get_layer(f"conv{i}").kernel.shape) for i in range(70)]
    assert ours == kernels[:70]
    with pytest.raises(ValueError, match="conv70"):
        models[8].get_layer("conv70")


def test_mixed5b_equals_keras_applications(models):
    """With the same weights, the first Inception block gives the same features."""
    theirs = keras.applications.InceptionV3(include_top=False, weights=None)
    convs = [layer for layer in theirs.layers if type(layer) is keras.layers.Conv2D]
    norms = [layer for layer in theirs.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layers in (convs, norms):
        layers.sort(key=lambda x: int(x.name.rpartition("_")[2]) if x.name[-1].isdigit() else 0)
    rng = np.random.default_rng(0)
    model = models[8]
    for i in range(5, 12):
        mean, variance = rng.normal(size=(2, norms[i].moving_mean.shape[0]))
        beta = rng.normal(size=mean.shape)
        norms[i].set_weights([beta, mean, variance**2 + 0.5])
        model.get_layer(f"conv{i}_bn").set_weights([np.ones_like(beta), *norms[i].get_weights()])
        model.get_layer(f"conv{i}").set_weights(convs[i].get_weights())
    x = rng.uniform(size=(1, 9, 10, 192)).astype("float32")
    ours = keras.Model(model.get_layer("pool2").output, model.get_layer("mixed5b").output)
    start = theirs.get_layer("mixed0")
    pool = [layer for layer in theirs.layers if isinstance(layer, keras.layers.MaxPooling2D)][1]
    stock = keras.Model(pool.output, start.output)
    np.testing.assert_allclose(ours(x), stock(x), rtol=1e-4, atol=1e-5)
