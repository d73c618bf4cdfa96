"""The number of the epoch as a variable that compiled steps see."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class Epoch(keras.metrics.Metric):
    """The number of the epoch in training: what `fit` sets and the loss reads.

    A metric, because its variable is no weight of the model and yet part of a compiled step.
    """

    def __init__(self, name: str = "epoch") -> None:
        super().__init__(name=name, dtype="float32")
        # A metric's variables are sums over replicas by default: each would see its share of it.
        self.value = self.add_variable((), "ones", aggregation="mean", name="value")

    def update_state(self, epoch: Any) -> None:
        self.value.assign(epoch)

    def result(self) -> Any:
        return ops.convert_to_tensor(self.value)

    def reset_state(self) -> None:
        """Keep the number: it holds for an epoch, and evaluation in between does not change it."""
