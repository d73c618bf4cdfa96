import keras
import pytest

from fcam_tf.data import load_wsol
from fcam_tf.data.shapes import write_shapes
from fcam_tf.models import FCAM
from tests.models.tiny import tiny_classifier


@pytest.fixture(scope="session")
def splits(tmp_path_factory):
    """Return 12 training and 7 validation images of 5 classes, with boxes and masks."""
    root = write_shapes(tmp_path_factory.mktemp("shapes") / "data", {"train": 12, "val": 7}, 48)
    return load_wsol(root, "train"), load_wsol(root, "val")


@pytest.fixture
def classifier():
    keras.utils.set_random_seed(3)
    return tiny_classifier(classes=5)


@pytest.fixture
def fcam(classifier):
    return FCAM.from_classifier(classifier, decoder_filters=(8, 6, 4), seed=3)
