"""Bilinear scaling to a size that may only be known when the graph runs."""

from __future__ import annotations

from typing import Any

import keras


def bilinear(images: Any, size: Any) -> Any:
    """Scale images or maps: bilinear, half-pixel centres, no antialiasing.

    Args:
        images: (B, h, w, C) float.
        size: (height, width), integers or, under TensorFlow, integer tensors.

    Returns:
        (B, height, width, C) float32.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.ops.image.resize(images, size, interpolation="bilinear")
    import tensorflow as tf  # noqa: PLC0415 - keras.ops takes sizes known beforehand only

    return tf.image.resize(images, size)
