"""Full-resolution class activation maps (F-CAM) for Keras 3 and TensorFlow."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Loaded on first use, because most of them import TensorFlow.
_SUBPACKAGES = (
    "baselines",
    "cams",
    "data",
    "evaluation",
    "export",
    "losses",
    "metrics",
    "models",
    "ops",
    "predict",
    "report",
    "training",
    "visualize",
    "zoo",
)


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"fcam_tf.{name}")
    raise AttributeError(f"module 'fcam_tf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_SUBPACKAGES])
