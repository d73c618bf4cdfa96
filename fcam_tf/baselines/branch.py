"""A branch of a head: convolutions with ReLU in between, built by the layer that owns it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras


class Branch(keras.layers.Layer):
    """Convolutions of (filters, kernel size), each followed by ReLU, the last by ``last_relu``."""

    def __init__(
        self, sizes: Sequence[tuple[int, int]], last_relu: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.convolutions = [
            keras.layers.Conv2D(
                filters,
                kernel,
                padding="same",
                activation="relu" if last_relu or i < len(sizes) - 1 else None,
                kernel_initializer="he_normal",
                dtype=self.dtype_policy,
                name=f"conv{i + 1}",
            )
            for i, (filters, kernel) in enumerate(sizes)
        ]

    def build(self, input_shape: Any) -> None:
        for layer in self.convolutions:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, x: Any) -> Any:
        for layer in self.convolutions:
            x = layer(x)
        return x
