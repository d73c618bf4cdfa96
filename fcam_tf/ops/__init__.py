"""Operations that TensorFlow does not have: the bilateral filter on the permutohedral lattice."""

from __future__ import annotations

import importlib
from typing import Any

from fcam_tf.ops.loader import backend as backend

# Loaded on first use: the exact filter and the loader do without TensorFlow.
_LAZY = {
    "bilateral_filter": "bilateral",
    "crf_loss_and_gradient": "bilateral",
    "dense_bilateral_filter": "dense",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"fcam_tf.ops.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'fcam_tf.ops' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
