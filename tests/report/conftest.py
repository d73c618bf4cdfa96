import numpy as np
import pytest

from fcam_tf.evaluation import Evaluation, EvaluationSettings
from tests.evaluation.conftest import finished, shapes  # noqa: F401


class Truth:
    """A source whose maps are the masks themselves: nothing can be better."""

    image_size = num_classes = class_names = None

    def __init__(self, split):
        from fcam_tf.evaluation.scores import read_truth  # noqa: PLC0415

        self._maps = {
            name: read_truth(split, i, 224)["mask"] == 1 for i, name in enumerate(split.ids)
        }

    def __call__(self, ids, images, labels):
        del images, labels
        return np.stack([self._maps[name] for name in ids]).astype(np.float32), None


@pytest.fixture(scope="session")
def perfect(shapes, tmp_path_factory):  # noqa: F811
    """Return a finished run of a source that knows the masks."""
    from fcam_tf.data import load  # noqa: PLC0415

    settings = EvaluationSettings(method="truth", data=str(shapes), split="test")
    out = tmp_path_factory.mktemp("runs") / "truth"
    return Evaluation(Truth(load(shapes, "test")), settings, out).run()
