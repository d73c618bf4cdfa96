"""Making an entry of a trained model, measured as it will be loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcam_tf import metrics
from fcam_tf.data import Split, evaluation_dataset, naming_photos
from fcam_tf.models import FCAM
from fcam_tf.training import Validation, knows_classes
from fcam_tf.zoo.registry import as_stored, save


def pack(
    model: FCAM,
    name: str,
    folder: str | Path | None = None,
    *,
    val: Split | None,
    tests: Mapping[str, Split],
    command: str,
    int8: bool = False,
    **about: Any,
) -> Path:
    """Choose the threshold, measure the model as it will be loaded, and `save` it, which may fail.

    Args:
        model: the trained F-CAM.
        name: see `save`.
        folder: see `save`.
        val: images whose boxes choose the threshold; without any the model keeps its own.
        tests: what is measured, by the name of the data set.
        command: that the scores come from.
        int8: see `save`.
        **about: further arguments of `save`.
    """
    stored = as_stored(model, int8=int8)
    if val is not None and val.boxes is not None:
        model.threshold = best_threshold(stored, val)
    scores = []
    for data, split in tests.items():
        known = knows_classes(stored, split)
        found = Validation(split, stored.input_size)(stored.maps_and_logits, known)
        about_split = {"data": data, "split": split.name, "command": command}
        scores += [
            {**about_split, "metric": metric, "value": round(value, 2)}
            for metric, value in found.items()
        ]
    return save(model, name, folder, scores=scores, int8=int8, **about)


@naming_photos()
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
