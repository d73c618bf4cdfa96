from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcam_tf.models import FCAM, Classifier
from fcam_tf.models.decoder import MatchSize, decoder
from tests.models.tiny import photos, tiny_classifier, with_a_layer_named

L = keras.layers


@pytest.mark.parametrize(
    ("backbone", "parameters"),
    [("vgg16", 23_119_616), ("inceptionv3", 5_704_384), ("resnet50", 9_012_928)],
)
def test_parameters_of_the_paper(backbone, parameters):
    model = FCAM(Classifier(backbone, 2, weights=None))
    head = model.get_layer("decoder_head").count_params()
    assert sum(int(np.prod(w.shape)) for w in model.trainable_variables) - head == parameters


def count(weights):
    return sum(int(np.prod(w.shape)) for w in weights)


def test_a_block_by_hand():
    top = L.Input((2, 2, 3))
    skip = L.Input((4, 4, 5))
    out = decoder(top, [(skip, True)], (7, 6))
    assert out.shape == (None, 8, 8, 6)
    model = keras.Model([top, skip], out)
    convolutions = 9 * ((3 + 5) * 7 + 7 * 7) + 9 * (7 * 6 + 6 * 6)
    assert count(model.trainable_variables) == convolutions + 2 * 2 * (7 + 6)
    names = [layer.name for layer in model.layers if isinstance(layer, L.BatchNormalization)]
    for name in names:
        layer = model.get_layer(name)
        assert (layer.momentum, layer.epsilon) == (0.9, 1e-5)


def test_center_keeps_its_width():
    top = L.Input((2, 2, 3))
    model = keras.Model(top, decoder(top, [], (4,), center=True))
    assert model.get_layer("decoder_center_conv2").output.shape == (None, 2, 2, 3)
    assert model.output.shape == (None, 4, 4, 4)


def test_skips_as_coarse_as_the_map_are_not_scaled():
    top = L.Input((4, 4, 3))
    skip = L.Input((4, 4, 5))
    model = keras.Model([top, skip], decoder(top, [(skip, False)], (4, 4)))
    assert [layer.name for layer in model.layers if "double" in layer.name] == [
        "decoder_block2_double"
    ]
    assert model.output.shape == (None, 8, 8, 4)


def test_fits_maps_to_odd_skips():
    x, reference = np.arange(16.0).reshape(1, 4, 4, 1), np.zeros((1, 7, 3, 2))
    found = MatchSize()([x, reference]).numpy()
    assert found.shape == (1, 7, 3, 1)
    np.testing.assert_allclose(found[0, ::2, ::2, 0], x[0, :, [0, 3], 0].T, atol=1e-6)
    np.testing.assert_allclose(found[0, 1, 0, 0], 2, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_fits_passes_untouched(dtype):
    x = keras.random.normal((1, 4, 4, 2), dtype=dtype)
    found = MatchSize(dtype=dtype)([x, np.zeros((1, 4, 4, 1))])
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, x)


def test_what_fits_passes_untouched_and_without_a_condition():
    x = np.random.default_rng(0).normal(size=(2, 9, 7, 3)).astype("float32")
    layer = MatchSize()
    signature = [[tf.TensorSpec((None, None, None, 3))] * 2]
    for training in (False, True):
        call = tf.function(partial(layer, training=training), input_signature=signature)
        np.testing.assert_array_equal(call([x, x]), x)
        conditions = {op.type for op in call.get_concrete_function().graph.get_operations()}
        assert ("StatelessIf" in conditions or "If" in conditions) == training


@pytest.mark.parametrize("name", ["fcam", "decoder_head", "decoder_block1_conv1"])
def test_names_of_the_decoder_are_refused_in_a_classifier(name):
    with pytest.raises(ValueError, match=f"`classifier`.*{name}.*Rename"):
        FCAM.from_classifier(with_a_layer_named(name), decoder_filters=(8, 6, 4))


def test_a_linear_decoder_is_one_convolution_on_the_top_map():
    images = photos()
    model = FCAM.from_classifier(tiny_classifier(), decoder_filters=())
    (kernel, bias) = model.get_layer("decoder_head").get_weights()
    assert kernel.shape[:2] == (1, 1)
    outputs = model(images)
    assert outputs["fcam"].shape == (*images.shape[:3], 2)
    top = np.asarray(keras.Model(model.inputs[0], model.get_layer("decoder_head").input)(images))
    corners = (top @ kernel[0, 0] + bias)[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    found = np.asarray(outputs["fcam"])[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_allclose(found, corners, atol=1e-4)  # corners stay where they are
    again = FCAM.from_config(model.get_config())
    assert again.decoder_filters == ()


@pytest.mark.parametrize(
    ("filters", "message"), [((8, 6), "decoder's 3 blocks"), ((8, 6, 0), "decoder_filters")]
)
def test_wrong_filters_are_refused(filters, message):
    with pytest.raises(ValueError, match=message):
        FCAM.from_classifier(tiny_classifier(), decoder_filters=filters)
