import dataclasses

import keras
import numpy as np
import pytest

from fcam_tf import data, training
from fcam_tf.models import FCAM
from tests.models.tiny import tiny_classifier


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    return data.write_shapes(folder, {"train": 5, "val": 50, "test": 20}, 48)


def test_divides_class_by_class(shapes):
    val = data.load(shapes, "val")
    train, rest = training.divide(val)
    assert set(train.ids) | set(rest.ids) == set(val.ids)
    assert not set(train.ids) & set(rest.ids)
    np.testing.assert_array_equal(np.bincount(train.labels), [8] * 5)
    np.testing.assert_array_equal(np.bincount(rest.labels), [2] * 5)
    assert training.divide(val)[0].ids == train.ids
    assert [val.ids.index(name) for name in train.ids] == sorted(map(val.ids.index, train.ids))


def test_refuses_what_it_cannot_divide(shapes):
    val = data.load(shapes, "val")
    with pytest.raises(ValueError, match="no masks and no boxes"):
        training.divide(dataclasses.replace(val, masks=None, boxes=None))
    with pytest.raises(ValueError, match=r"has too few images of each class.* raise val_per_class"):
        training.divide(val.subset(np.flatnonzero(val.labels == 0)[:1]))


@pytest.mark.slow
@pytest.mark.traced
@pytest.mark.parametrize(("decoder", "boxes"), [("unet", False), ("linear", True)])
def test_learns_where_the_object_is(shapes, tmp_path, decoder, boxes):
    keras.utils.set_random_seed(0)
    train, rest = training.divide(data.load(shapes, "val"))
    if boxes:
        train = dataclasses.replace(train, masks=None)
    recipe = training.get("fsl", "small").changed(
        [f"decoder={decoder}", "train=all", "epochs=6", "resize=32", "crop=32", "lr_step=0"]
    )
    model = FCAM.from_classifier(
        tiny_classifier(size=32, classes=5),
        decoder_filters=() if decoder == "linear" else (8, 6, 4),
    )
    run = training.fit_fcam(model, train, rest, recipe, tmp_path, verbose=0)
    _, *epochs = run.state.history
    assert epochs[-1]["masks_loss"] < 0.97 * epochs[0]["masks_loss"]
    assert "seeds_loss" not in epochs[0]
    assert "classification_loss" in epochs[0]  # the backbone trains
