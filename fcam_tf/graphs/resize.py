"""Scaling to a size that may only be known when the graph runs."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from fcam_tf import lazy_tensorflow as tf


def resize(images: Any, size: Any, interpolation: str = "bilinear") -> Any:
    """Scale images or maps: half-pixel centres, no antialiasing.

    Args:
        images: (B, h, w, C).
        size: (height, width), integers or, under TensorFlow, integer tensors.
        interpolation: "bilinear" or "nearest".

    Returns:
        (B, height, width, C), float32 if bilinear, else in the dtype of ``images``.
    """
    if keras.backend.backend() == "tensorflow":
        # As keras.ops takes only sizes that are known beforehand.
        return tf.image.resize(images, size, interpolation)
    resized = ops.image.resize(images, size, interpolation=interpolation)
    return ops.cast(resized, "float32") if interpolation == "bilinear" else resized


def bilinear_aligned(images: Any, size: Any) -> Any:
    """Scale as `resize` does, but with aligned corners: their pixels' centres stay in place.

    This is PyTorch's ``align_corners=True``, by which U-Net decoders fit maps to their skips.
    """
    if keras.backend.backend() == "tensorflow":
        return tf.raw_ops.ResizeBilinear(images=images, size=size, align_corners=True)
    images = ops.cast(images, "float32")
    for axis, new in ((1, size[0]), (2, size[1])):
        old = images.shape[axis]
        position = ops.arange(new, dtype="float32") * ((old - 1) / max(new - 1, 1))
        low = ops.minimum(ops.cast(ops.floor(position), "int32"), old - 1)
        fraction = ops.reshape(position - ops.cast(low, "float32"), [-1] + [1] * (3 - axis))
        left = ops.take(images, low, axis)
        right = ops.take(images, ops.minimum(low + 1, old - 1), axis)
        images = left + (right - left) * fraction
    return images
