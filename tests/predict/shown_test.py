import keras
import numpy as np
import pytest

from fcam_tf.models import FCAM
from fcam_tf.predict import Localizer, localize_shown

L = keras.layers


def classifier(activation):
    """Red, green and blue; the map has a quarter of the image's resolution."""
    images = keras.Input((None, None, 3))
    x = L.AveragePooling2D(4)(images)
    x = L.Conv2D(3, 1, use_bias=False, activation="relu", name="colours")(x)
    scores = L.Dense(3, activation=activation)(L.GlobalAveragePooling2D()(x))
    model = keras.Model(images, scores)
    model.get_layer("colours").set_weights([np.eye(3)[None, None] / 255])
    # A colour that covers an eighth of the image is as probable as not.
    model.layers[-1].set_weights([16 * np.eye(3), np.full(3, -2)])
    return model


@pytest.fixture(scope="module")
def sigmoids():
    return classifier("sigmoid")


@pytest.fixture(scope="module")
def images():
    """One of red and blue, one of little green, one of all three."""
    images = np.zeros((3, 32, 32, 3), np.uint8)
    images[0, :, :8, 0] = images[0, :, 16:, 2] = 255
    images[1, :4, :4, 1] = 255
    images[2, :8, :, 0] = images[2, 8:20, :, 1] = images[2, 20:28, 8:, 2] = 255
    return images


@pytest.mark.parametrize("method", ["cam", "gradcam"])
def test_every_class_that_is_probable_gets_its_own_map(sigmoids, images, method):
    localizer = Localizer(sigmoids, method, 0.5)
    found = localize_shown(localizer, images)
    assert [each.labels.tolist() for each in found] == [[2, 0], [1], [1, 0, 2]]
    for i, each in enumerate(found):
        for n, label in enumerate(each.labels):
            alone = localizer(images[i : i + 1], int(label))[0]
            np.testing.assert_allclose(each.heatmaps[n], alone.heatmaps, atol=1e-5)
            np.testing.assert_array_equal(each.boxes[n], alone.boxes)
            assert each.scores[n] == pytest.approx(alone.scores)
    np.testing.assert_array_equal(found[0].boxes, [[16, 0, 31, 31], [0, 0, 7, 31]])
    assert found[1].scores[0] < 0.5  # nothing is shown: the best


@pytest.mark.parametrize(
    ("activation", "wanted", "labels"),
    [
        ("sigmoid", {"labels": [0]}, [[0]] * 3),
        ("sigmoid", {"labels": [1, 2]}, [[1, 2]] * 3),
        ("sigmoid", {"top": 1}, [[2], [1], [1]]),
        ("softmax", {}, [[2], [1], [1]]),
        ("softmax", {"top": 2}, [[2, 0], [1, 0], [1, 0]]),
    ],
)
def test_classes_by_request_and_of_a_softmax(images, activation, wanted, labels):
    localizer = Localizer(classifier(activation), "cam", 0.5)
    found = localize_shown(localizer, images, **wanted)
    assert [each.labels.tolist() for each in found] == labels
    for i, each in enumerate(found):
        for n, label in enumerate(each.labels):
            alone = localizer(images[i : i + 1], int(label))[0]
            np.testing.assert_allclose(each.heatmaps[n], alone.heatmaps, atol=1e-5)
            np.testing.assert_array_equal(each.boxes[n], alone.boxes)


def test_a_probability_of_one_half_is_enough(sigmoids):
    images = np.zeros((1, 32, 32, 3), np.uint8)
    images[:, :16, :, 1] = images[:, 16:20, :, 2] = 255
    (found,) = localize_shown(Localizer(sigmoids, "cam"), images)
    assert found.scores[1] == pytest.approx(0.5)
    assert found.labels.tolist() == [1, 2]


def test_a_decoder_s_map_is_made_that_of_each_class_where_there_are_several(sigmoids, images):
    model = FCAM.from_classifier(sigmoids, decoder_filters=(4, 4))
    localizer = Localizer(model)
    found, whole = localize_shown(localizer, images), localizer(images)
    assert [each.labels.tolist() for each in found] == [[2, 0], [1], [1, 0, 2]]
    # One alone has the object's map.
    np.testing.assert_array_equal(found[1].heatmaps[0], whole.heatmaps[1])
    (asked,) = localize_shown(localizer, images[:1], [2, 0])
    for each in (found[0], asked):
        np.testing.assert_allclose(each.scores, whole.probabilities[0][[2, 0]], atol=1e-6)
        blue, red = each.heatmaps
        assert (blue[:, 20:] == whole.heatmaps[0][:, 20:]).all()
        assert (red[:, :6] == whole.heatmaps[0][:, :6]).all()
        assert not blue[:, :6].any()
        assert not red[:, 18:].any()
    direct = localizer(images[:1], [0])
    np.testing.assert_allclose(direct.heatmaps[0], asked.heatmaps[1], atol=1e-6)
    np.testing.assert_array_equal(direct.boxes[0], asked.boxes[1])


def test_a_decoder_s_maps_are_refined_last(sigmoids, images):
    model = FCAM.from_classifier(sigmoids, decoder_filters=(4, 4))
    localizer = Localizer(model, refine="crf")
    (found,) = localize_shown(localizer, images[:1], top=2)
    np.testing.assert_allclose(
        found.heatmaps, localizer(images[[0, 0]], [2, 0]).heatmaps, atol=1e-5
    )
    (found,) = localize_shown(localizer, images[1:2])
    np.testing.assert_allclose(found.heatmaps, localizer(images[1:2]).heatmaps, atol=1e-6)


def test_many_classes_go_in_batches_of_one_size(sigmoids, images):
    sizes = []

    class Counting(Localizer):
        def __call__(self, images, labels=None):
            sizes.append(len(images))
            return super().__call__(images, labels)

    found = localize_shown(Counting(sigmoids, "cam"), images[[2, 2]])
    assert [each.labels.tolist() for each in found] == [[1, 0, 2]] * 2
    assert sizes == [2, 2, 2]
