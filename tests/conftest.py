import gc
import itertools
import os
from pathlib import Path

import hypothesis
import pytest

from tests.eager import run_eagerly

# On a busy machine an example may take long. In CI the same ones each time: new ones are looked for
# where somebody looks at what they find.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_configure(config):
    # oneDNN compiles a kernel for each new shape, which tiny models never repay; some of the long
    # tests train real ones.
    if config.option.markexpr != "slow":
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # Keras 3 hands variables to NumPy 2 by the older protocol, as when a model is saved.
    config.addinivalue_line(
        "filterwarnings", "ignore:__array__ implementation doesn't accept:DeprecationWarning"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Let each process begin with its share of the longest tests: none is left with one at the end.

    Those of one file stay together, as they share what takes long. At first pytest-xdist gives each
    the next part of the list; then who is idle takes from others.
    """
    longest = [item for item in items if item.get_closest_marker("longest")]
    files = [list(group) for _, group in itertools.groupby(longest, lambda item: item.path)]
    others = [item for item in items if not item.get_closest_marker("longest")]
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ordered = []
    for worker in range(workers):
        size = (len(items) - len(ordered)) // (workers - worker)
        mine = [*itertools.chain(*files[worker::workers])]
        share = max(size - len(mine), 0)
        ordered += mine + others[:share]
        del others[:share]
    items[:] = ordered + others


def pytest_collection_finish():
    """Leave what the imports made out of garbage collection: it stays to the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Run models operation by operation, but as graphs, as users do, in tests marked ``traced``."""
    with pytest.MonkeyPatch.context() as patch:
        if not item.get_closest_marker("traced"):
            run_eagerly(patch.setattr)
        return (yield)


@pytest.fixture(scope="module")
def tiny_backbone():
    """Return the name of a backbone of five convolutions that ``Classifier`` knows meanwhile."""
    from fcam_tf.models import BACKBONES  # noqa: PLC0415 - most tests need no TensorFlow
    from tests.models import tiny  # noqa: PLC0415

    BACKBONES["tiny"] = tiny.tiny_spec()
    yield "tiny"
    del BACKBONES["tiny"]


@pytest.fixture(scope="session")
def fcam():
    """Return a small F-CAM to export, of images of 64x64 pixels."""
    import keras  # noqa: PLC0415 - as above

    from fcam_tf.models import FCAM  # noqa: PLC0415
    from tests.models.tiny import tiny_classifier  # noqa: PLC0415

    keras.utils.set_random_seed(0)  # thin parts of an object may vanish as its mask shrinks
    model = FCAM.from_classifier(tiny_classifier(), decoder_filters=(8, 6, 4), threshold=0.6)
    model.input_size = 64
    model.class_names = ["cat", "<b>dog</b>", "bird"]
    return model


@pytest.fixture(scope="session")
def exported(fcam, tmp_path_factory):
    """Return the folder of it as a SavedModel."""
    from fcam_tf.export import export  # noqa: PLC0415

    return export(fcam, tmp_path_factory.mktemp("exported") / "tiny" / "3")


@pytest.fixture(scope="session")
def signatures(exported):
    """Return what that SavedModel answers."""
    import tensorflow as tf  # noqa: PLC0415

    return tf.saved_model.load(str(exported)).signatures


@pytest.fixture
def floatx():
    """Return a function that sets Keras's ``floatx`` and dtype policy until the test ends."""
    import keras  # noqa: PLC0415 - as above

    def use(dtype):
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)

    yield use
    use("float32")


@pytest.fixture
def undrawn(monkeypatch):
    """Train without curves and overlays."""
    monkeypatch.setattr("fcam_tf.training.loop.tensorboard", lambda *_: [])
    monkeypatch.setattr("fcam_tf.training.loop.draw_convergence", lambda *args: args[2].touch())


@pytest.fixture(scope="session")
def shared_data():
    """Return the folder of real photos; tests that need it skip without it."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("FCAM_DATA", beside))
    if not folder.is_dir():
        pytest.skip("needs the photos that FCAM_DATA names")
    return folder
