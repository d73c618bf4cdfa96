from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcam_tf.graphs.resize import resize
from fcam_tf.models import FCAM
from fcam_tf.models.inference import class_maps_and_logits, maps_and_logits, of_classes
from fcam_tf.refine import refine_maps
from tests.models.tiny import photos, tiny_classifier


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)  # by some weights, maps are 0 everywhere
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


def test_maps_of_classes_are_the_object_s_by_their_share(model):
    images, rows, labels = photos(2, 32), np.array([1, 0, 1]), np.array([0, 2, 1])
    maps, logits = model.maps_and_logits(images)
    shares = resize(model.class_share(images, rows, labels)[..., None], (32, 32))[..., 0]
    found = of_classes(model, maps, images, rows, labels)
    np.testing.assert_allclose(found, maps[rows] * np.asarray(shares), atol=1e-6)
    assert (found <= maps[rows] + 1e-6).all()
    assert np.abs(found[0] - found[2]).max() > 1e-3
    for wanted, want in ((None, maps), ([2, 0], found[[1, 0]])):
        plain, others = class_maps_and_logits(model, images, wanted)
        np.testing.assert_allclose(plain, want, atol=1e-5)
        np.testing.assert_allclose(others, logits, atol=1e-5)
    with pytest.raises(ValueError, match="`labels` must lie in"):
        class_maps_and_logits(model, images, 3)


def test_localize_by_label(model):
    images = photos(2, 32)
    found = model.localize(images, [1, -1], refine="crf")
    plain = model.localize(images)
    maps = of_classes(model, plain.heatmaps, images, np.arange(2), np.array([1, -1]))
    np.testing.assert_allclose(found.heatmaps, refine_maps(maps, images), atol=1e-5)
    assert found.labels.tolist() == [1, plain.labels[1]]
