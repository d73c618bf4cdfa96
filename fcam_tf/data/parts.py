"""Which images of each batch a machine reads, where several machines share every batch."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parts that some devices have of every batch, in the order of the devices.

    A batch of n images is cut into ``number`` parts of consecutive images that differ by one image
    at most: part i has those from i n // number on.

    Attributes:
        devices: whose parts these are, numbers from 0.
        number: how many devices there are in all.
    """

    devices: range
    number: int

    def places(self, images: int, batch_size: int) -> tuple[NDArray[np.int64], list[int]]:
        """Return which places in the order of an epoch are ours, and the sizes of our batches.

        Args:
            images: how many there are in an epoch.
            batch_size: images in a batch of all devices; the last may be smaller.
        """
        places, sizes = [], []
        for start in range(0, images, batch_size):
            size = min(batch_size, images - start)
            for device in self.devices:
                low, high = (i * size // self.number for i in (device, device + 1))
                places.append(np.arange(start + low, start + high))
                sizes.append(high - low)
        return np.concatenate(places), sizes

    def cut(self, *batch: Any) -> tf.data.Dataset:
        """Return our parts of a batch, one after the other; a structure of tensors (B, ...)."""
        size = tf.shape(tf.nest.flatten(batch)[0])[0]

        def part(device: tf.Tensor) -> Any:
            low, high = (i * size // self.number for i in (device, device + 1))
            return tf.nest.map_structure(lambda x: x[low:high], batch)

        devices = tf.range(self.devices.start, self.devices.stop)
        return tf.data.Dataset.from_tensor_slices(devices).map(part)
