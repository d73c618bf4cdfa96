"""What a backbone's pretrained weights expect of their pixels, as layers of the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


def affine(
    scale: float, offset: float | list[float] = 0.0, *, bgr: bool = False
) -> Callable[[Any], Any]:
    """Return the function from symbolic RGB (B, H, W, 3) in [0, 255] to what weights expect.

    Scales, then adds the offset, one number or one for each channel in the weights' order; ``bgr``
    puts blue first. The result is float32 even under mixed precision.
    """

    def apply(images: Any) -> Any:
        images = ops.flip(images, axis=-1) if bgr else images
        return keras.layers.Rescaling(scale, offset, dtype="float32", name="preprocessing")(images)

    return apply


UNIT = affine(1 / 255)  # keras-cv presets: [0, 1]
SYMMETRIC = affine(1 / 127.5, -1.0)  # keras.applications' "tf": [-1, 1]
CAFFE = affine(1.0, [-103.939, -116.779, -123.68], bgr=True)
LITE = affine(1 / 128, -127 / 128)
