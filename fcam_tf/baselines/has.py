"""Hide-and-Seek: patches of the training images are hidden, so that no single part suffices."""

from __future__ import annotations

import dataclasses
from typing import Any

from fcam_tf import checks
from fcam_tf import lazy_tensorflow as tf
from fcam_tf.baselines.base import Baseline, draw_key

MEAN_COLOUR = (123.675, 116.28, 103.53)  # of ImageNet, RGB


@dataclasses.dataclass(frozen=True)
class HaS(Baseline):
    """Hide-and-Seek (Singh and Lee, ICCV 2017), in training only.

    Each image is cut into squares, those at the edge may be smaller, and each of them takes the
    mean colour with some probability. Network, loss and map are those of CAM.

    Attributes:
        grid_size: side of the squares, in pixels.
        drop_rate: probability with which one is hidden.

    Raises:
        ValueError: ``grid_size`` below 1 or ``drop_rate`` outside of [0, 1].
    """

    name = "has"
    augments = True
    grid_size: int = 4
    drop_rate: float = 0.5

    def __post_init__(self) -> None:
        checks.whole("grid_size", self.grid_size, 1)
        checks.number("drop_rate", self.drop_rate, "[0, 1]")

    def augment(self, images: Any, labels: Any, seed: Any = None) -> tuple[Any, Any]:
        shape = tf.shape(images)
        rows, columns = (-(-shape[axis] // self.grid_size) for axis in (1, 2))
        noise = tf.random.stateless_uniform((shape[0], rows, columns), draw_key(seed, 0))
        hidden = noise < self.drop_rate
        for axis in (1, 2):
            hidden = tf.repeat(hidden, self.grid_size, axis=axis)
        hidden = hidden[:, : shape[1], : shape[2], None]
        return tf.where(hidden, tf.cast(MEAN_COLOUR, images.dtype), images), labels
