"""The preprocessing that a backbone's pretrained weights expect, as layers of the graph."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """The function from symbolic RGB (B, H, W, 3) in [0, 255] to the input that weights expect.

    It scales, then adds the offset. Each of these is one number or three, in the weights' channel
    order; ``bgr`` puts blue first. The result is float32 even under mixed precision.
    """

    scale: tuple[float, float, float] | float
    offset: tuple[float, float, float] | float = 0.0
    bgr: bool = False

    def __call__(self, images: Any) -> Any:
        images = ops.flip(images, axis=-1) if self.bgr else images
        return keras.layers.Rescaling(
            self.scale, self.offset, dtype="float32", name="preprocessing"
        )(images)

    @property
    def zero_colour(self) -> tuple[float, ...]:
        """The colour that becomes zero: three numbers, RGB in [0, 255]."""
        scales, offsets = (
            each if isinstance(each, tuple) else (each,) * 3 for each in (self.scale, self.offset)
        )
        colour = tuple(-offset / scale for scale, offset in zip(scales, offsets, strict=True))
        return colour[::-1] if self.bgr else colour


UNIT = Preprocessing(1 / 255)  # keras-cv presets: [0, 1]
SYMMETRIC = Preprocessing(1 / 127.5, -1.0)  # keras.applications' "tf": [-1, 1]
CAFFE = Preprocessing(1.0, (-103.939, -116.779, -123.68), bgr=True)
LITE = Preprocessing(1 / 128, -127 / 128)
