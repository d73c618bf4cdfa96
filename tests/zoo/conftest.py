import keras
import numpy as np
import pytest

from fcam_tf import zoo
from fcam_tf.models import BACKBONES, FCAM, Classifier
from tests.models.tiny import tiny_backbone

BACKBONE = "mobilenet_v3_large"
NAME = f"{BACKBONE}_cam"
ABOUT = {"trained_on": "nothing", "licence": "Apache-2.0"}
TINY = tiny_backbone(BACKBONE)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Return a model of a tiny backbone in the place of one of ours, and a zoo of it alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, BACKBONE, TINY)
        keras.utils.set_random_seed(0)
        classifier = Classifier(
            BACKBONE, 3, weights=None, class_names=("a", "b", "c"), output_stride=16
        )
        # Weights as of a trained model: nothing is zero or one.
        for variable in classifier.weights:
            noise = np.random.default_rng(1).uniform(0.5, 1.5, variable.shape)
            variable.assign(np.asarray(variable) * noise + 0.01)
        filters = (8, 8, 4, 4, 4)
        model = FCAM.from_classifier(classifier, decoder_filters=filters, threshold=0.25)
        root = tmp_path_factory.mktemp("zoo")
        zoo.save(model, NAME, root, **ABOUT)
    return model, root


@pytest.fixture
def model(saved, monkeypatch):
    """Return the model of the zoo's one entry, and let its backbone be a tiny one."""
    monkeypatch.setitem(BACKBONES, BACKBONE, TINY)
    saved[0].threshold = 0.25
    return saved[0]


@pytest.fixture
def built(saved):
    """Return a zoo of one entry."""
    return saved[1]


@pytest.fixture
def own(model, built, tmp_path, monkeypatch):
    """Let FCAM_ZOO name a copy of it, with a cache of its own."""
    import shutil  # noqa: PLC0415

    del model  # whose backbone the tests need
    root = tmp_path / "own"
    shutil.copytree(built, root)
    monkeypatch.setenv("FCAM_ZOO", str(root))
    monkeypatch.setenv("FCAM_CACHE", str(tmp_path / "cache"))
    return root


@pytest.fixture
def card(own):
    del own
    return zoo.card(NAME)


@pytest.fixture
def elsewhere(own, card, tmp_path, monkeypatch):
    """Move the weights to where only an address leads, and return that folder."""
    del card  # read before it moves
    away = tmp_path / "away"
    own.rename(away)
    monkeypatch.setenv("FCAM_ZOO", away.as_uri())
    return away


def cached(tmp_path):
    return list((tmp_path / "cache" / "zoo").glob("*.weights"))
