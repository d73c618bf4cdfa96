import keras
import numpy as np
import pytest

from fcam_tf import cams
from fcam_tf.explain import Explainer
from fcam_tf.models import FCAM, Classifier
from fcam_tf.refine import refine_maps
from tests.models.tiny import photos, tiny_classifier


@pytest.mark.parametrize(("name", "method"), [("acol", "acol"), ("has", "layercam")])
def test_a_head_that_makes_maps_explains_itself(name, method):
    classifier = Classifier("vgg16", 3, weights=None, input_size=96, baseline=name)
    explainer = Explainer(classifier)
    assert explainer.method == method
    assert (explainer.num_classes, explainer.image_size) == (3, (96, 96))
    assert Explainer(classifier, "cam" if name == "has" else name).layer == "P5"


def test_probabilities_are_those_of_the_classifier_without_a_map():
    images = photos(2, 32)
    classifier = tiny_classifier()
    want = np.asarray(keras.ops.softmax(classifier(images.astype("float32"))))
    for made in (
        Explainer(classifier, "cam"),
        Explainer(FCAM.from_classifier(classifier, decoder_filters=(4, 4, 4))),
        Explainer(keras.Sequential([classifier, keras.layers.Softmax()]), "gradcam"),
    ):
        np.testing.assert_allclose(made.probabilities(images), want, rtol=1e-5)


def test_options_reach_the_method():
    images, classifier = photos(2, 32), tiny_classifier()
    options = {"scales": (1, 1.5), "flip": True, "relu": False}
    explainer = Explainer(classifier, "gradcam", "relu1", **options)
    want = cams.get("gradcam", classifier, "relu1", **options).maps_and_logits(images)
    for made, wanted in zip(explainer.maps_and_logits(images), want, strict=True):
        np.testing.assert_allclose(made, wanted, atol=1e-6)
    assert explainer.options == {"scales": [1, 1.5], "flip": True, "relu": False}
    assert explainer.told == "gradcam at relu1, scales 1,1.5, flip, relu False"
    black = Explainer(classifier, "scorecam", baseline=np.zeros(3), channels=2)
    assert black.options == {"baseline": [0, 0, 0], "channels": 2}
    plain = Explainer(classifier, "gradcam", relu=True, scales=[1], flip=False, grid=None)
    assert (plain.options, plain.told) == ({}, "gradcam at relu2")
    scored = Explainer(classifier, "gradcam", score=cams.scores.value(1))
    assert scored.options["score"].startswith("fcam_tf.cams.scores.value")


def test_a_decoder_takes_mirrored_images_and_no_scales():
    images = photos(2, 32)
    model = FCAM.from_classifier(tiny_classifier(), decoder_filters=(4, 4, 4))
    explainer = Explainer(model, flip=True)
    assert (explainer.options, explainer.told) == ({"flip": True}, "fcam, flip")
    maps, _ = explainer.maps_and_logits(images)
    np.testing.assert_allclose(maps, model.localize(images, flip=True).heatmaps, atol=1e-6)
    with pytest.raises(
        ValueError, match=r"`scales` must be left out.*`flip` and `refine` alone.*\[1, 2\]"
    ):
        Explainer(model, scales=(1, 2), flip=True)
    assert Explainer(model, scales=(1,), relu=True).options == {}
    assert Explainer(model, "cam", scales=(1, 2)).options == {"scales": [1, 2]}


def test_a_model_of_grey_images_takes_rgb():
    inputs = keras.Input((32, 32, 1))
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    explainer = Explainer(model, "cam")
    images = photos(2, 32)
    grey = keras.ops.image.rgb_to_grayscale(images.astype("float32"))
    for made, want in zip(
        explainer.maps_and_logits(images), explainer.maps_and_logits(grey), strict=True
    ):
        np.testing.assert_allclose(made, want, atol=1e-5)
    np.testing.assert_allclose(explainer.maps_and_logits(images)[1], model(grey), atol=1e-3)
    made = explainer.probabilities(images)
    np.testing.assert_allclose(made, keras.ops.softmax(model(grey)), atol=1e-5)

    with pytest.raises(ValueError, match=r"must take RGB images.*Received one of 1 channels"):
        FCAM.from_classifier(model)
    rgb = keras.Input((32, 32, 3))
    fcam = FCAM.from_classifier(
        keras.Model(rgb, model(keras.ops.image.rgb_to_grayscale(rgb))), decoder_filters=(4,)
    )
    images = images.astype("float32")
    np.testing.assert_allclose(fcam(images)["logits"], model(grey), atol=1e-3)


@pytest.mark.parametrize("method", ["fcam", "cam"])
def test_maps_are_refined_in_the_frame_of_the_images(method):
    images = photos(2, 32)
    model = FCAM.from_classifier(tiny_classifier(), decoder_filters=(4, 4, 4))
    explainer = Explainer(model, method, refine="crf")
    assert explainer.options == {"refine": "crf"}
    assert explainer.told.endswith(", refine crf")
    coarse, logits = explainer.unrefined().maps_and_logits(images)
    found, same = explainer.maps_and_logits(images)
    np.testing.assert_array_equal(found, refine_maps(coarse, images))
    assert found.shape == (2, 32, 32)
    np.testing.assert_allclose(same, logits)
    with pytest.raises(ValueError, match=r"`refine` must be 'crf'\. Received: 'densecrf'"):
        Explainer(model, method, refine="densecrf")
