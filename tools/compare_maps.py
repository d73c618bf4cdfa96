"""Compares CAM methods and layers as `fcam localize` uses them: predicted class, Otsu, one box.

    python tools/compare_maps.py --data ../shared/data/pets3 --split test

Prints the fraction of photos whose box has an IoU of 0.5 or more with a true one, and the mean IoU.
No threshold is chosen on the photos that are counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from absl import flags
from common import print_table, start

_DATA = flags.DEFINE_string("data", "../shared/data/pets3", "a data set in the benchmark's layout")
_SPLIT = flags.DEFINE_string("split", "test", "a split with boxes")
_SIZE = flags.DEFINE_integer("size", 224, "pixels on each side")
_BATCH = flags.DEFINE_integer("batch", 16, "photos at once")

# output stride, method, layers
_CASES = (
    (32, "cam", "P5"),
    (32, "gradcampp", "P5"),
    (32, "layercam", "P5"),
    (32, "layercam", "P4,P5"),
    (16, "layercam", "P5"),
    (16, "layercam", "P4,P5"),
)


def _ious(localizer: Any, photos: np.ndarray, boxes: list[np.ndarray]) -> np.ndarray:
    from fcam_tf.metrics import box_iou  # noqa: PLC0415 - after the flags were read

    found = np.concatenate(
        [
            localizer(photos[start : start + _BATCH.value]).boxes
            for start in range(0, len(photos), _BATCH.value)
        ]
    )
    return np.array(
        [
            box_iou(f[None], b).max() if f[2] >= f[0] else 0.0  # a map may show nothing
            for f, b in zip(found, boxes, strict=True)
        ]
    )


def main() -> None:
    """Print the table."""
    from fcam_tf import data, metrics, models, predict  # noqa: PLC0415

    split = data.load_wsol(_DATA.value, _SPLIT.value)
    frame = (_SIZE.value, _SIZE.value)
    batches = data.evaluation_dataset(split, batch_size=_BATCH.value, size=_SIZE.value)
    photos = np.concatenate([np.asarray(images) for images, _ in batches])
    boxes = [
        metrics.resize_boxes(box, tuple(size), frame)
        for box, size in zip(split.boxes, split.sizes, strict=True)
    ]
    rows = []
    for stride, method, layers in _CASES:
        classifier = models.Classifier("efficientnetlite_b0", output_stride=stride)
        localizer = predict.Localizer(classifier, method, layer=layers.split(","))
        ious = _ious(localizer, photos, boxes)
        good, mean = f"{100 * (ious >= 0.5).mean():.1f}", f"{100 * ious.mean():.1f}"
        rows.append((str(stride), method, layers, good, mean))
    title = f"efficientnetlite_b0 on {len(photos)} photos at {_SIZE.value} pixels"
    columns = ("output stride", "method", "layers", "IoU >= 0.5, %", "mean IoU, %")
    print_table(title, columns, rows)


if __name__ == "__main__":
    start(main)
