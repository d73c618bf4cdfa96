import keras
import numpy as np
import pytest

from fcam_tf import cams
from tests.models.tiny import photos, tiny_classifier

L = keras.layers


@pytest.fixture(scope="module")
def deep():
    """Rescaling with an offset, convolutions, batch normalisation, pooling and two dense layers."""
    x = images = keras.Input((16, 16, 3))
    x = L.Rescaling(1 / 127.5, -1.0)(x)
    x = L.Conv2D(4, 3, padding="same", activation="relu")(x)
    x = L.BatchNormalization()(L.DepthwiseConv2D(3, strides=2)(x))
    x = L.MaxPooling2D()(L.ReLU()(x))
    x = L.Add()([L.Conv2D(6, 1, use_bias=False)(x), L.Conv2D(6, 1)(x)])
    x = L.Dense(5, activation="relu")(L.GlobalAveragePooling2D()(x))
    model = keras.Model(images, L.Dense(3)(x))
    draw = np.random.default_rng(0)
    for w in model.weights:
        w.assign(
            draw.uniform(0.5, 1.5, w.shape) if "variance" in w.path else draw.normal(size=w.shape)
        )
    return model


@pytest.mark.parametrize("label", [0, 2])
def test_the_terms_add_up_to_the_logit(deep, label):
    x = photos(2, 16).astype("float32")
    terms, logits = cams.get("fullgrad", deep).parts(
        keras.ops.convert_to_tensor(x), np.int32([label] * 2)
    )
    assert len(terms) == 7  # image, offset, 3 convolutions with a bias, batch normalisation, dense
    total = sum(np.asarray(t).reshape(2, -1).sum(-1) for t in terms)
    total += deep.layers[-1].bias.numpy()[label]
    np.testing.assert_allclose(total, np.asarray(deep(x))[:, label], rtol=1e-3)
    np.testing.assert_allclose(logits, deep(x), rtol=1e-4)


def test_equals_numpy(tiny):
    """One convolution of 1 x 1, ReLU and a linear head: gradients are w where A > 0."""
    model, x, label = tiny.build(), tiny.images(), 1
    kernel, bias = model.get_layer("maps").get_weights()
    w = tiny.head(model)[0][:, label] / 48
    gradient = (tiny.activations(model, x) > 0) * w
    expected = 0
    for term in (x * (gradient @ kernel[0, 0].T), gradient * bias):
        a = np.abs(term)
        low, high = a.min((1, 2, 3), keepdims=True), a.max((1, 2, 3), keepdims=True)
        expected = expected + ((a - low) / (high - low)).sum(-1)
    np.testing.assert_allclose(
        cams.get("fullgrad", model)(x, label), tiny.min_max(expected), atol=1e-4
    )


def test_a_layer_or_a_bias_that_is_not_known_is_refused(tiny):
    with pytest.raises(ValueError, match="`layer` must be left out"):
        cams.get("fullgrad", tiny.build(), "maps")
    x = images = keras.Input((8, 8, 3))
    x = L.LayerNormalization(name="norm")(L.Conv2D(4, 3)(x))
    model = keras.Model(images, L.Dense(2)(L.GlobalAveragePooling2D()(x)))
    with pytest.raises(ValueError, match="does not know the bias of the layer 'norm'"):
        cams.get("fullgrad", model)


def test_the_model_is_left_as_it_was():
    model = tiny_classifier(size=32)
    x = photos(1).astype("float32")
    before, config = np.asarray(model(x)), model.to_json()
    cams.get("fullgrad", model)(x)
    np.testing.assert_array_equal(model(x), before)
    assert model.to_json() == config
