"""What can be built without a card: every backbone, by every method that it is set up for."""

from __future__ import annotations

from functools import cache

from fcam_tf.names import BACKBONES, BASELINES, FSL, METHODS
from fcam_tf.zoo.cards import Card

NUM_CLASSES = 200  # of CUB, the paper's first data set
_BATCHES_ONLY = ("has", "cutmix")  # the other baselines are parts of a backbone
_WITH_PARTS = BACKBONES[:4]


@cache
def buildable() -> dict[str, tuple[str, str]]:
    """Return the names ``<backbone>_<method>`` with their parts."""
    return {
        f"{backbone}_{method}": (backbone, method)
        for backbone in BACKBONES
        for method in (*METHODS, *BASELINES, FSL)
        if method not in BASELINES or method in _BATCHES_ONLY or backbone in _WITH_PARTS
    }


def parts_of(name: str) -> tuple[str, str]:
    """Return backbone and method of an entry's name, perhaps with ``.<data set>``.

    Raises:
        ValueError: it is no such name.
    """
    parts = buildable().get(name.partition(".")[0])
    if parts is None:
        methods = (*METHODS, FSL, *BASELINES)
        raise ValueError(
            f"`name` is no <backbone>_<method>: {name!r}. Backbones: {', '.join(BACKBONES)}. "
            f"Methods: {', '.join(methods)}; the last four of the first four backbones alone."
        )
    return parts


def untrained_card(name: str) -> Card:
    """Return what is known of a model that nobody has trained: its status is "untrained".

    It has what follows from the backbone's specification, `NUM_CLASSES` classes, and None for
    weights and check.
    """
    from fcam_tf.models import BACKBONES as SPECS  # noqa: PLC0415 - TensorFlow

    backbone, method = parts_of(name)
    spec = SPECS[backbone]
    return {
        "name": name,
        "status": "untrained",
        "architecture": {
            "backbone": backbone,
            "output_stride": spec.output_stride,
            "num_classes": NUM_CLASSES,
            "class_names": None,
            "method": "cam" if method == FSL else method,
            "decoder_filters": None,
            **({"baseline": method} if method in BASELINES else {}),
        },
        "trained_on": "nothing yet",
        "recipe": None,
        "scores": [],
        "threshold": "otsu",
        "input": {"colour": "RGB", "range": [0, 255], "size": 224},
        "licence": spec.licence,
        "weights": None,
        "check": None,
    }
