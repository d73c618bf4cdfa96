import sys

import numpy as np

from fcam_tf import cams
from fcam_tf.training.tensorboard import Overlays, tensorboard


def test_overlays_show_the_true_class(classifier, splits, tmp_path):
    asked = []
    cam = cams.get("cam", classifier)

    def maps_and_logits(images, labels):
        asked.append(list(np.asarray(labels)))
        return cam.maps_and_logits(images, labels)

    overlays = Overlays(maps_and_logits, splits[1], tmp_path, 32)
    overlays.on_train_begin()
    overlays.on_epoch_end(0)
    assert asked == [list(overlays.split.labels)]


def test_nothing_without_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[tensorboard.__module__], "find_spec", lambda _: None)
    assert tensorboard(None, None, tmp_path, 32) == []
