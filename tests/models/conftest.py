"""A small trained classifier, and an F-CAM over it."""

import keras
import pytest

from fcam_tf.models import FCAM
from tests.models.tiny import trained_classifier


@pytest.fixture(scope="module")
def classifier():
    return trained_classifier()


@pytest.fixture
def model(classifier):
    keras.utils.set_random_seed(0)  # one decoder in twelve begins so that it learns little
    return FCAM.from_classifier(classifier, decoder_filters=(8, 6, 4))
