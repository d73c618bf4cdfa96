"""The zoo: F-CAMs by name, their cards, and where their weights come from."""

from __future__ import annotations

import importlib
from typing import Any

from fcam_tf.zoo.cards import read_card as read_card
from fcam_tf.zoo.entries import card as card
from fcam_tf.zoo.entries import folders as folders
from fcam_tf.zoo.entries import list_models as list_models
from fcam_tf.zoo.entries import untrained as untrained

_LAZY = {  # these import TensorFlow, or what only fetching needs
    **dict.fromkeys(("as_stored", "load", "save"), "registry"),
    **dict.fromkeys(("verify", "verify_scores"), "checks"),
    "WeightsDamagedError": "fetch",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"fcam_tf.zoo.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'fcam_tf.zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
