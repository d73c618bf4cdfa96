"""The threshold that an entry's boxes are drawn at."""

from __future__ import annotations

from fcam_tf import metrics
from fcam_tf.data import Split, evaluation_dataset
from fcam_tf.models import FCAM


def best_threshold(model: FCAM, split: Split) -> float:
    """Return the threshold by which most boxes of a split are right, to three digits.

    Args:
        model: whose maps are cut.
        split: images with boxes, none of which the scores of the entry are measured on.

    Raises:
        ValueError: the split has no boxes.
    """
    if split.boxes is None:
        raise ValueError(f"split {split.name!r} has no boxes, by which a threshold is chosen.")
    metric = metrics.MaxBoxAcc()
    frame = (model.input_size, model.input_size)
    start = 0
    for images, _ in evaluation_dataset(split, size=frame):
        boxes = [
            metrics.resize_boxes(split.boxes[i], split.size(i), frame)
            for i in range(start, start + len(images))
        ]
        metric.update_state(model.maps_and_logits(images)[0], boxes)
        start += len(images)
    return round(float(metric.best_thresholds()[0]), 3)
