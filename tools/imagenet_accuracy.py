"""Top-1 and top-5 accuracy of a pretrained classifier on ImageNet photos.

    python tools/imagenet_accuracy.py --data ../shared/data/in1k --splits train,val

Photos are resized straight to a square of --size pixels, as the evaluation of maps does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags
from common import print_table, start

if TYPE_CHECKING:
    from fcam_tf.data import Split

_DATA = flags.DEFINE_string("data", "../shared/data/in1k", "folder of the data set")
_SPLITS = flags.DEFINE_list("splits", ["train", "val"], "splits to read")
_BACKBONE = flags.DEFINE_string("backbone", "efficientnetlite_b0", "a backbone with its head")
_SIZE = flags.DEFINE_integer("size", 224, "pixels on each side")
_STRIDES = flags.DEFINE_list("strides", ["32", "16", "8"], "output strides to compare")
_BATCH = flags.DEFINE_integer("batch", 32, "images at once")


def _ranks(model: Any, splits: list[Split]) -> np.ndarray:
    """Return how many classes score above the true one, for each photo."""
    from fcam_tf.data import evaluation_dataset  # noqa: PLC0415 - after the flags were read

    ranks = []
    for split in splits:
        for images, labels in evaluation_dataset(split, batch_size=_BATCH.value, size=_SIZE.value):
            logits = model.predict_on_batch(images)
            ranks.append((logits > np.take_along_axis(logits, labels.numpy()[:, None], 1)).sum(1))
    return np.concatenate(ranks)


def main() -> None:
    """Print the table."""
    from fcam_tf import data, models  # noqa: PLC0415 - after the flags were read

    splits = [data.load(_DATA.value, name) for name in _SPLITS.value]
    rows = []
    for stride in _STRIDES.value:
        ranks = _ranks(models.Classifier(_BACKBONE.value, output_stride=int(stride)), splits)
        rows.append((stride, *(f"{100 * (ranks < top).mean():.1f}" for top in (1, 5))))
    title = f"{_BACKBONE.value}, {len(ranks)} photos at {_SIZE.value} pixels"
    print_table(title, ("output stride", "top-1 %", "top-5 %"), rows)


if __name__ == "__main__":
    start(main)
