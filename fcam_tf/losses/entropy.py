"""Entropy of the maps: low where each pixel has made up its mind."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops


def entropy(logits: Any) -> Any:
    """Return the mean entropy of the pixels' probabilities.

    Args:
        logits: (B, H, W, K); half precision is cast to float32.

    Returns:
        (B,) float32, in bits: 0 to log2 K.
    """
    logs = ops.log_softmax(ops.cast(logits, "float32"))
    return -ops.mean(ops.sum(ops.exp(logs) * logs, axis=-1), axis=(1, 2)) / math.log(2)


@keras.saving.register_keras_serializable("fcam_tf")
class Entropy(keras.losses.Loss):
    """`entropy` for ``compile``: predictions are logits, targets are not read.

    Args:
        weight: factor of the loss.
        name: of the loss in logs.
    """

    def __init__(self, weight: float = 1.0, name: str = "entropy") -> None:
        super().__init__(name=name, reduction="sum_over_batch_size")
        self.weight = weight

    def call(self, y_true: Any, y_pred: Any) -> Any:  # noqa: ARG002
        return self.weight * entropy(y_pred)

    def get_config(self) -> dict[str, Any]:
        return {"weight": self.weight, "name": self.name}
