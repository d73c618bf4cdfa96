import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from fcam_tf import zoo
from fcam_tf.data import load, write_shapes
from fcam_tf.training import Validation
from fcam_tf.zoo.pack import best_threshold, pack
from tests.zoo.conftest import ABOUT, NAME


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
    model = SimpleNamespace(input_size=48, maps_and_logits=lambda *_: (maps, np.zeros((5, 2))))
    # The middle of those that are equally good.
    assert best_threshold(model, split) == pytest.approx(0.7, abs=0.02)


def test_it_needs_boxes(split):
    with pytest.raises(ValueError, match="'val' has no boxes"):
        best_threshold(SimpleNamespace(input_size=48), dataclasses.replace(split, boxes=None))


def test_what_is_packed_is_measured_as_it_is_loaded(model, split, own):
    """The classes are others than the data set's: maps of the predicted ones, and no accuracy."""
    tests = {"one": split, "two": dataclasses.replace(split, masks=None, ignores=())}
    options = {"val": split, "tests": tests, "command": "make it", "replace": True}
    assert pack(model, NAME, **options, int8=True, **ABOUT) == own / NAME
    card = zoo.card(NAME)
    assert (card["threshold"], model.threshold) == (model.threshold, card["threshold"])
    loaded = zoo.load(NAME)
    assert card["threshold"] == best_threshold(loaded, split)
    found = {(s["data"], s["metric"]): s["value"] for s in card["scores"]}
    assert found.keys() == {
        *(("one", metric) for metric in ("PxAP", "MaxBoxAcc", "MaxBoxAccV2")),
        *(("two", metric) for metric in ("MaxBoxAcc", "MaxBoxAccV2")),
    }
    expected = Validation(split, loaded.input_size, frame=224)(loaded.maps_and_logits, False)
    assert {m: v for (data, m), v in found.items() if data == "one"} == pytest.approx(
        expected, abs=0.006
    )
    assert {(s["split"], s["command"]) for s in card["scores"]} == {("val", "make it")}


def test_without_boxes_the_model_keeps_its_threshold(model, split, own):
    before = model.threshold
    val = dataclasses.replace(split, boxes=None)
    pack(model, f"{NAME}.b", val=val, tests={}, command="", **ABOUT)
    assert zoo.card(f"{NAME}.b")["threshold"] == before
    assert (own / f"{NAME}.b").is_dir()
