"""Checking an entry: the hash of its weights, that it can be rebuilt, and what it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fcam_tf.models import FCAM
from fcam_tf.zoo.cards import Card, data_name
from fcam_tf.zoo.entries import untrained

_SIZE = 64
_CLASSES = 10
_TOLERANCE = 1e-2  # of logits of order 10, on other processors and versions


def reference_output(model: FCAM) -> dict[str, list[float]]:
    """Return what a card stores of a model's answer to a picture made of a formula."""
    y, x = np.mgrid[:_SIZE, :_SIZE] / _SIZE
    inside = ((x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.06).astype(float)
    picture = np.stack([200 * inside + 40 * x, 120 * inside + 60 * y, 255 * (1 - inside) * x], -1)
    outputs = model(np.uint8(picture)[None])
    maps = np.asarray(outputs["fcam"])[0]
    return {
        "logits": [float(v) for v in np.asarray(outputs["logits"])[0, :_CLASSES]],
        "fcam": [float(v) for v in maps[4 :: _SIZE // 4, 4 :: _SIZE // 4].ravel()],
    }


def verify(card: Card, model: FCAM) -> None:
    """Check that a loaded entry answers as its card says.

    The hash of the weights and the schema of the card are checked by loading it.

    Args:
        card: of the entry.
        model: what ``load`` gave for it.

    Raises:
        ValueError: it answers something else, and the message says by how much; or nobody has
            trained it.
    """
    if card["check"] is None:
        raise ValueError(untrained(card["name"]))
    found = reference_output(model)
    for name, expected in card["check"].items():
        if len(found[name]) != len(expected):
            raise ValueError(
                f"{card['name']} does not answer as its card says: that has {len(expected)} "
                f"{name}, not {len(found[name])}."
            )
        difference = np.abs(np.subtract(found[name], expected)).max()
        if not difference <= _TOLERANCE:
            raise ValueError(
                f"{card['name']} does not answer as its card says: {name} differ by "
                f"{difference:.3g}."
            )


def verify_scores(card: Card, model: FCAM, data: str | Path) -> list[dict[str, Any]]:
    """Measure again what a card says of a data set.

    Args:
        card: of the entry.
        model: what ``load`` gave for it.
        data: the data set; scores of the card that name its folder are measured.

    Returns:
        Those scores, each with "found" beside "value".

    Raises:
        ValueError: the data set lacks what a score is measured by.
        OSError: it cannot be read.
    """
    from fcam_tf.data import load  # noqa: PLC0415 - TensorFlow's part of reading
    from fcam_tf.training import Validation, knows_classes  # noqa: PLC0415

    wanted = [score for score in card["scores"] if score["data"] == data_name(data)]
    found: dict[str, dict[str, float]] = {}
    for split in {score["split"] for score in wanted}:
        images = load(data, split)
        known = knows_classes(model, images)
        found[split] = Validation(images, model.input_size)(model.maps_and_logits, known)
    missing = {s["metric"] for s in wanted if s["metric"] not in found[s["split"]]}
    if missing:
        raise ValueError(
            f"{data} cannot measure {', '.join(sorted(missing))} of {card['name']}: it lacks the "
            "boxes, the masks or the model's classes. Give the data set that the card names."
        )
    return [{**score, "found": found[score["split"]][score["metric"]]} for score in wanted]
