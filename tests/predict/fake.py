"""A localizer without a model, and as a program a job that uses it: fake.py OUT PHOTO..."""

import os
import signal
import sys
import time
import types

import numpy as np

from fcam_tf.predict import Localization, localize_files


class FakeLocalizer:
    """Calls class 1 what is redder than it is blue, else class 0; the heat is the brightness."""

    def __init__(
        self, *, class_names=("sea, ocean", "fire"), seconds=0.0, weights=(), image_size=(16, 16)
    ):
        self.classifier = types.SimpleNamespace(
            name="fake", layers=[], get_weights=lambda: [np.array(weights)]
        )
        self.method = "brightness"
        self.threshold = "otsu"
        self.share = None
        self.layer = ""
        self.options = {}
        self.refine = None
        self.activation = "softmax"
        self.class_names = class_names
        self.num_classes = 2
        self.image_size = image_size
        self.seconds = seconds
        self.batches = []

    def unrefined(self):
        return self

    def __call__(self, images, labels=None):
        assert images.dtype == np.uint8
        assert images.shape[1:] == (*self.image_size, 3)
        time.sleep(self.seconds)
        self.batches.append(len(images))
        mean = images.mean((1, 2)) / 255
        fire = np.clip(0.5 + (mean[:, 0] - mean[:, 2]) / 2, 0, 1)
        heatmaps = images.max(-1) / 255
        return Localization.from_heatmaps(heatmaps, np.stack([1 - fire, fire], -1), labels)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests ignore it
    out, *photos = sys.argv[1:]
    localize_files(
        FakeLocalizer(seconds=float(os.environ.get("SECONDS_A_BATCH", "0"))),
        photos,
        out,
        batch_size=2,
    )
