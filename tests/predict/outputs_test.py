import numpy as np
import pytest

from fcam_tf.photos import Photo
from fcam_tf.predict import Localization
from fcam_tf.predict import outputs as module
from fcam_tf.predict.outputs import Outputs


@pytest.fixture
def result():
    heatmap = np.zeros((4, 8))
    heatmap[1:3, 2:6] = 1
    return Localization.from_heatmaps([heatmap], [[0.25, 0.75]], [0], 0.5)[0]


@pytest.fixture
def photo():
    return Photo(np.zeros((8, 8, 3), np.uint8), np.zeros((20, 40, 3), np.uint8), 4000, 2000)


def test_record(tmp_path, result, photo):
    record = Outputs(tmp_path, "npy", 2, ("cat, house cat", "dog")).write("a/b", photo, result)
    cat = {"label": 0, "label_name": "cat, house cat", "score": 0.25}
    assert record == {
        **cat,
        "box": [1000, 500, 2999, 1499],  # in the photo's own pixels, not those of its view
        "threshold": pytest.approx(127 / 255, abs=1e-6),
        "width": 4000,
        "height": 2000,
        "top": [{"label": 1, "label_name": "dog", "score": 0.75}, cat],
        "overlay": "a/b_overlay.png",
        "heatmap": "a/b_heatmap.npy",
    }
    assert np.load(tmp_path / "a/b_heatmap.npy").shape == (20, 40)


def test_caption_is_the_first_name(tmp_path, result, photo, monkeypatch):
    drawn = []

    def overlay(view, _heatmap, box, label, score):
        drawn.append((tuple(box), label, score))
        return view

    monkeypatch.setattr(module.visualize, "overlay", overlay)
    for names in (("cat, house cat", "dog"), None):
        Outputs(tmp_path, "none", 1, names).write("a", photo, result)
    assert drawn == [((2, 1, 5, 2), "cat", 0.25), ((2, 1, 5, 2), "class 0", 0.25)]
