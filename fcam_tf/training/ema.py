"""The moving average of the weights that a training changes, which is scored and kept instead."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np


class MovingAverage(keras.callbacks.Callback):
    """Follow the weights that train, batch statistics among them, by an exponential average.

    After each step ``average = m average + (1 - m) weight`` (Polyak and Juditsky, 1992, with the
    weights of old steps decaying). Keras's own ``use_ema`` leaves out batch statistics, which then
    belong to other weights than those that are kept.

    Args:
        momentum: m in (0, 1).
        values: the average so far, as `values` gave it; without it the weights as they are.
    """

    def __init__(self, momentum: float, values: Sequence[np.ndarray] | None = None) -> None:
        super().__init__()
        self.momentum = momentum
        self._start = values

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        layers = [layer for layer in self.model.layers if layer.trainable]
        # Without the states of random generators, which are integers.
        self._weights = [w for layer in layers for w in layer.weights if "float" in w.dtype]
        start = self._weights if self._start is None else self._start
        self._averages = [keras.ops.copy(keras.ops.convert_to_tensor(w)) for w in start]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        self._averages = [
            average + (1 - self.momentum) * (keras.ops.convert_to_tensor(weight) - average)
            for average, weight in zip(self._averages, self._weights, strict=True)
        ]

    def values(self) -> list[np.ndarray]:
        """Return the average of each weight, float32."""
        return [keras.ops.convert_to_numpy(average) for average in self._averages]

    @contextlib.contextmanager
    def in_model(self) -> Iterator[None]:
        """Let the model have the average until the block ends."""
        kept = [np.array(keras.ops.convert_to_numpy(weight)) for weight in self._weights]
        try:
            for weight, average in zip(self._weights, self._averages, strict=True):
                weight.assign(average)
            yield
        finally:
            for weight, value in zip(self._weights, kept, strict=True):
                weight.assign(value)
