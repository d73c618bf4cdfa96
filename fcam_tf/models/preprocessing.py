"""What a backbone's pretrained weights expect of their pixels, as layers of the graph."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """An affine map from raw RGB to what the weights were trained on.

    Attributes:
        scale: factor of each channel, after the channels were put in order.
        offset: added after scaling; one number, or one for each channel.
        bgr: whether the weights want blue first.
    """

    scale: float
    offset: float | tuple[float, float, float] = 0.0
    bgr: bool = False

    def __call__(self, images: Any) -> Any:
        """Apply to ``images`` (B, H, W, 3), RGB in [0, 255]; float32 even under mixed precision."""
        if self.bgr:
            images = ops.flip(images, axis=-1)
        offset = list(self.offset) if isinstance(self.offset, tuple) else self.offset
        rescale = keras.layers.Rescaling(self.scale, offset, dtype="float32", name="preprocessing")
        return rescale(images)


UNIT = Preprocessing(scale=1 / 255)  # keras-cv presets: [0, 1]
SYMMETRIC = Preprocessing(scale=1 / 127.5, offset=-1.0)  # keras.applications' "tf": [-1, 1]
CAFFE = Preprocessing(scale=1.0, offset=(-103.939, -116.779, -123.68), bgr=True)
LITE = Preprocessing(scale=1 / 128, offset=-127 / 128)
