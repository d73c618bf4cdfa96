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
