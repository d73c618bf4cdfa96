import keras
import numpy as np
import pytest

from fcam_tf.explain import Explainer
from fcam_tf.models import FCAM, Classifier
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
