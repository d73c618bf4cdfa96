from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from fcam_tf.models import FCAM
from fcam_tf.models.inference import maps_and_logits
from tests.models.tiny import photos, tiny_classifier


@pytest.fixture(scope="module")
def model():
    return FCAM.from_classifier(tiny_classifier(), decoder_filters=(4, 4, 4))


@pytest.mark.parametrize("shape", [(3, 32, 32, 3), (1, 20, 33, 3)])
def test_maps_are_means_of_both_images_and_logits_those_of_the_first(model, shape):
    images = photos(shape[0], 33)[:, : shape[1], : shape[2]]
    straight, logits = maps_and_logits(model.predict_on_batch, images)
    mirrored, others = maps_and_logits(model.predict_on_batch, images[:, :, ::-1])
    assert np.abs(straight - mirrored[:, :, ::-1]).max() > 1e-4
    assert np.abs(logits - others).max() > 1e-4
    calls = []

    def run(images):
        calls.append(images.shape)
        return model.predict_on_batch(images)

    maps, found = maps_and_logits(run, images, flip=True)
    np.testing.assert_allclose(maps, (straight + mirrored[:, :, ::-1]) / 2, atol=1e-6)
    np.testing.assert_allclose(found, logits, atol=1e-5)
    assert calls == [(2 * shape[0], *shape[1:])]

    wide = model.localize(images, flip=True)
    np.testing.assert_allclose(wide.heatmaps, maps, atol=1e-6)
    np.testing.assert_array_equal(wide.labels, np.argmax(logits, -1))


def test_in_a_graph_of_any_batch(model):
    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3))])
    def run(images):
        return maps_and_logits(partial(model, training=False), images, flip=True)

    images = photos(3, 32).astype("float32")
    want = maps_and_logits(model.predict_on_batch, images, flip=True)
    for found, wanted in zip(run(images), want, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
