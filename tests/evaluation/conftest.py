import os
from pathlib import Path

import numpy as np
import pytest

from fcam_tf.data import load, write_shapes
from fcam_tf.evaluation import Center, Evaluation, EvaluationSettings


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    """A small generated data set with boxes and masks, some images with two objects."""
    root = tmp_path_factory.mktemp("data") / "shapes"
    return write_shapes(root, {"train": 2, "val": 10, "test": 12}, size=48, seed=3)


@pytest.fixture
def split(shapes):
    return load(shapes, "test")


@pytest.fixture
def settings(shapes):
    return EvaluationSettings(method="center", data=str(shapes), split="test")


class Blobs:
    """A source that looks at the images: what differs from the border's colour is hot."""

    image_size = (32, 40)
    num_classes = 5
    class_names = None

    def __init__(self):
        self.seen = []

    def __call__(self, ids, images, labels):
        images = np.asarray(images)
        assert images.shape == (len(ids), 32, 40, 3)
        assert labels is None or len(labels) == len(ids)
        self.seen += ids
        heat = np.abs(images - images[:, :1, :1]).sum(-1)
        heat = heat / heat.max((1, 2), keepdims=True)
        logits = np.stack([np.arange(5) * images.mean((1, 2, 3))[i] / 99 for i in range(len(ids))])
        logits[np.arange(len(ids)), (np.arange(len(ids)) * 2) % 5] += 500
        return heat, logits.astype(np.float32)


@pytest.fixture
def blobs():
    return Blobs()


@pytest.fixture(scope="session")
def finished(shapes, tmp_path_factory):
    """A finished run of the Center baseline."""
    settings = EvaluationSettings(
        method="center", data=str(shapes), split="test", threshold_split="val"
    )
    return Evaluation(Center(), settings, tmp_path_factory.mktemp("runs") / "center").run()


@pytest.fixture(scope="session")
def metadata():
    """The benchmark's own metadata folder."""
    repository = Path(__file__).parents[2]
    shared = Path(os.environ.get("FCAM_DATA", repository.parent / "shared"))
    for folder in (shared / "metadata", shared / "data" / "metadata", shared.parent):
        if (folder / "CUB" / "test" / "localization.txt").exists():
            return folder
    pytest.skip("no benchmark metadata beside the repository")
