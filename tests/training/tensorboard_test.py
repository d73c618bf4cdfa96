import sys

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fcam_tf import cams, training
from fcam_tf.training import ClassifierRecipe
from fcam_tf.training.tensorboard import Overlays, tensorboard


def test_a_run_writes_curves_and_overlays(classifier, splits, tmp_path):
    recipe = ClassifierRecipe(epochs=2, batch_size=6, resize=36, crop=32)
    training.fit_classifier(classifier, *splits, recipe, tmp_path, verbose=0)
    curves = EventAccumulator(str(tmp_path / "logs" / "validation"), {"tensors": 0}).Reload()
    assert [event.step for event in curves.Tensors("epoch_PxAP")] == [0, 1]
    maps = EventAccumulator(str(tmp_path / "logs" / "maps"), {"tensors": 0}).Reload()
    assert len(maps.Tags()["tensors"]) == 6
    assert all(len(maps.Tensors(tag)) == 2 for tag in maps.Tags()["tensors"])


@pytest.mark.parametrize("known", [True, False])
def test_overlays_show_the_true_class_where_it_is_known(classifier, splits, tmp_path, known):
    asked = []
    cam = cams.get("cam", classifier)

    def maps_and_logits(images, labels):
        asked.append(None if labels is None else list(np.asarray(labels)))
        return cam.maps_and_logits(images, labels)

    overlays = Overlays(maps_and_logits, splits[1], tmp_path, size=32, known_classes=known)
    overlays.on_train_begin()
    overlays.on_epoch_end(0)
    assert asked == [list(overlays.split.labels) if known else None]


def test_nothing_without_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[tensorboard.__module__], "find_spec", lambda _: None)
    assert tensorboard(None, None, tmp_path, 32, True) == []
