"""Making an entry from a trained model, measured as it will be loaded, and measuring it again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fcam_tf.data import Split, load, naming_photos
from fcam_tf.evaluation import FRAME
from fcam_tf.models import FCAM
from fcam_tf.training import Validation, knows_classes
from fcam_tf.zoo.cards import Card, data_name
from fcam_tf.zoo.registry import save


def pack(
    model: FCAM,
    name: str,
    folder: str | Path | None = None,
    *,
    val: Split | None,
    tests: Mapping[str, Split],
    command: str,
    **about: Any,
) -> Path:
    """Choose the threshold, measure the model as it will be loaded, and `save` it, which may fail.

    Args:
        model: the trained F-CAM.
        name: see `save`.
        folder: see `save`.
        val: images with boxes, on which the threshold is chosen; without them the model keeps its
            own.
        tests: the splits to measure, by the name of the data set.
        command: the command that the scores come from.
        **about: further arguments of `save`.
    """

    def measure(stored: FCAM) -> list[dict[str, Any]]:
        if val is not None and val.boxes is not None:
            with naming_photos(val):
                model.threshold = stored.threshold = best_threshold(stored, val)
        return [
            {"data": data, "split": split.name, "metric": metric, "value": round(value, 2)}
            | {"command": command}
            for data, split in tests.items()
            for metric, value in _measure(stored, split).items()
        ]

    return save(model, name, folder, measure=measure, **about)


def verify_scores(card: Card, model: FCAM, data: str | Path) -> list[dict[str, Any]]:
    """Measure a card's scores on a data set again.

    Args:
        card: card of the entry.
        model: the model that ``load`` returned for it.
        data: the data set; the scores whose data set has the name of its folder are measured.

    Returns:
        These scores, each with "found" beside "value".

    Raises:
        ValueError: the data set lacks the ground truth that a score needs.
        OSError: it cannot be read.
    """
    wanted = [score for score in card["scores"] if score["data"] == data_name(data)]
    splits = {score["split"] for score in wanted}
    found = {split: _measure(model, load(data, split)) for split in splits}
    missing = {s["metric"] for s in wanted if s["metric"] not in found[s["split"]]}
    if missing:
        raise ValueError(
            f"{data} cannot measure {', '.join(sorted(missing))} of {card['name']}: it lacks the "
            "boxes, the masks or the model's classes. Give the data set that the card names."
        )
    return [{**score, "found": found[score["split"]][score["metric"]]} for score in wanted]


def _measure(model: FCAM, split: Split) -> dict[str, float]:
    # In the benchmark's frame, whatever size of images the model was trained on.
    validation = Validation(split, model.input_size, frame=FRAME)
    return validation(model.maps_and_logits, knows_classes(model, split))


def best_threshold(model: FCAM, split: Split) -> float:
    """Return the threshold with the most correct boxes on a split, to three digits.

    F-CAM's maps are nearly binary, so many thresholds may be equally good on few images. The middle
    one is the least likely to be an accident of these images.

    Args:
        model: the model whose maps are thresholded.
        split: images with boxes; none of them may be among those that the entry's scores are
            measured on.

    Raises:
        ValueError: the split has no boxes.
    """
    if split.boxes is None:
        raise ValueError(f"split {split.name!r} has no boxes, by which a threshold is chosen.")
    without_masks = dataclasses.replace(split, masks=None, ignores=())
    validation = Validation(without_masks, model.input_size, frame=FRAME)
    summary = validation.summary(model.maps_and_logits, False)
    counted = summary.counted["MaxBoxAcc"]
    curve = counted.curves()[0]
    best = np.flatnonzero(curve == curve.max())
    return round(float(counted.thresholds[best[len(best) // 2]]), 3)
