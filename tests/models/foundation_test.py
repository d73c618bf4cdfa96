import keras
import numpy as np
import pytest

from fcam_tf import cams
from fcam_tf.models import FCAM
from fcam_tf.models.foundation import copied, top_map
from tests.models.tiny import photos

L = keras.layers
IMAGES = photos()


def test_softmax_models_come_out_giving_logits(classifier):
    probabilities = keras.Model(classifier.input, L.Softmax()(classifier.output))
    model = FCAM.from_classifier(probabilities, decoder_filters=(8, 6, 4))
    np.testing.assert_allclose(model(IMAGES)["logits"], classifier(IMAGES), atol=1e-5)


def test_a_copy_has_weights_of_its_own(classifier):
    copy = copied(classifier)
    np.testing.assert_allclose(copy([IMAGES]), classifier(IMAGES), atol=1e-6)
    assert not {id(w) for w in copy.weights} & {id(w) for w in classifier.weights}


def test_the_top_map_is_the_last_that_the_teacher_weights(classifier):
    for layers, name in ((None, "relu2"), (["relu1", "relu2"], "relu2"), ("relu1", "relu1")):
        teacher = cams.get("layercam", classifier, layers)
        assert top_map(classifier, teacher) is classifier.get_layer(name).output


def test_a_model_of_more_than_images_is_refused(classifier):
    scale = keras.Input((1,), name="factor")
    model = keras.Model([classifier.input, scale], classifier.output * scale)
    teacher = cams.get("gradcam", model)
    with pytest.raises(ValueError, match=r"classifier of images alone.*'relu2'.*'factor'"):
        top_map(model, teacher)
