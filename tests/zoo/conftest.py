import keras
import numpy as np
import pytest

from fcam_tf import zoo
from fcam_tf.models import FCAM, Classifier

NAME = "mobilenet_v3_large_cam"
ABOUT = {"trained_on": "nothing", "licence": "Apache-2.0"}


@pytest.fixture(scope="session")
def model():
    keras.utils.set_random_seed(0)
    classifier = Classifier(
        "mobilenet_v3_large", 3, weights=None, class_names=("a", "b", "c"), output_stride=16
    )
    # Weights as of a trained model: nothing is zero or one.
    for variable in classifier.weights:
        noise = np.random.default_rng(1).uniform(0.5, 1.5, variable.shape)
        variable.assign(np.asarray(variable) * noise + 0.01)
    return FCAM.from_classifier(classifier, decoder_filters=(8, 8, 4, 4, 4), threshold=0.25)


@pytest.fixture(scope="session")
def built(model, tmp_path_factory):
    """Return a zoo of one entry."""
    root = tmp_path_factory.mktemp("zoo")
    zoo.save(model, NAME, root, **ABOUT)
    return root


@pytest.fixture
def own(built, tmp_path, monkeypatch):
    """Let FCAM_ZOO name a copy of it, with a cache of its own."""
    import shutil  # noqa: PLC0415

    root = tmp_path / "own"
    shutil.copytree(built, root)
    monkeypatch.setenv("FCAM_ZOO", str(root))
    monkeypatch.setenv("FCAM_CACHE", str(tmp_path / "cache"))
    return root
