import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from fcam_tf.data import load, write_shapes
from fcam_tf.zoo.threshold import best_threshold


@pytest.fixture
def split(tmp_path):
    return load(write_shapes(tmp_path / "shapes", {"train": 1, "val": 5, "test": 1}, 48), "val")


def test_the_threshold_that_gives_the_boxes(split):
    """The maps are the boxes' own at one height, and more than the boxes below it."""
    maps = np.zeros((5, 48, 48), "float32")
    maps[:, 0, 0] = 0.4
    maps[:, 47, 47] = 0.4
    for i, boxes in enumerate(split.boxes):
        x0, y0, x1, y1 = boxes[0]
        maps[i, max(y0 - 8, 0) : y1 + 9, max(x0 - 8, 0) : x1 + 9] = 0.4
        maps[i, y0 : y1 + 1, x0 : x1 + 1] = 1
    model = SimpleNamespace(input_size=48, maps_and_logits=lambda _: (maps, None))
    assert 0.4 <= best_threshold(model, split) < 1


def test_it_needs_boxes(split):
    with pytest.raises(ValueError, match="'val' has no boxes"):
        best_threshold(SimpleNamespace(input_size=48), dataclasses.replace(split, boxes=None))
