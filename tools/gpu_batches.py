"""Batches that compiled functions of JAX draw from photos on the GPU, for tools/gpu_training.py."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from gpu_maps import Photos

Draw = Callable[[Any, Any], tuple[Any, Any]]
_SMOOTHING = 0.1
_OF_TEACHER = 0.7  # fraction of the teacher in the targets


def random_boxes(key: Any, batch: int, smallest: float, side: int) -> Any:
    """Draw boxes (batch, 4) x0, y0, x1, y1 inside a square of ``side``, float32.

    Areas are uniform in [smallest, 1] of the square, aspect ratios log-uniform in [3/4, 4/3].
    """
    keys = jax.random.split(key, 3)
    area = jax.random.uniform(keys[0], (batch,), minval=smallest, maxval=1.0)
    ratio = jnp.exp(jax.random.uniform(keys[1], (batch,), minval=-1.0, maxval=1.0) * jnp.log(4 / 3))
    sides = jnp.minimum(jnp.sqrt(jnp.stack([area * ratio, area / ratio], axis=-1)), 1.0)
    starts = jax.random.uniform(keys[2], (batch, 2)) * (1.0 - sides)
    return side * jnp.concatenate([starts, starts + sides], axis=-1)


@functools.partial(jax.vmap, in_axes=(0, 0, 0, None))
def cut(image: Any, box: Any, mirrored: Any, size: int) -> Any:
    """Scale a box of each image to a square: bilinear, half-pixel centres, no antialiasing.

    Args:
        image: (B, h, w, C) of any type.
        box: (B, 4) x0, y0, x1, y1 in pixels of the images, float32.
        mirrored: (B,) bool, which ones to flip from left to right.
        size: side of the result, in pixels.

    Returns:
        (B, size, size, C) float32.
    """
    low = box[1::-1]  # y, x
    scale = size / (box[:1:-1] - low)
    found = jax.image.scale_and_translate(
        image.astype(jnp.float32),
        (size, size, image.shape[-1]),
        (0, 1),
        scale,
        -low * scale,
        "linear",
        antialias=False,
    )
    return jnp.where(mirrored, found[:, ::-1], found)


def mix(key: Any, images: Any, targets: Any) -> tuple[Any, Any]:
    """Mix each image with another of the batch: 40 % by CutMix, 30 % by mixup, the rest not.

    CutMix (Yun et al., ICCV 2019) with a box of uniform area, mixup (Zhang et al., ICLR 2018) with
    a uniform fraction.

    Args:
        key: of the draws.
        images: (B, H, W, C) float32.
        targets: (B, classes) float32, distributions.

    Returns:
        Images and targets of the same shapes.
    """
    keys = jax.random.split(key, 3)
    batch, height, width, _ = images.shape
    kind = jax.random.uniform(keys[0], (batch, 1, 1, 1))
    fraction = jax.random.uniform(keys[1], (batch, 1, 1, 1))  # of the other image
    centre = jax.random.uniform(keys[2], (2, batch, 1, 1, 1))
    half = 0.5 * jnp.sqrt(fraction)
    y = (jnp.arange(height)[:, None, None] + 0.5) / height
    x = (jnp.arange(width)[None, :, None] + 0.5) / width
    box = (jnp.abs(y - centre[0]) < half) & (jnp.abs(x - centre[1]) < half)
    other = jnp.where(kind < 0.4, box.astype(jnp.float32), jnp.where(kind < 0.7, fraction, 0.0))
    amount = jnp.mean(jnp.broadcast_to(other, (batch, height, width, 1)), axis=(1, 2))
    mixed = images + other * (images[::-1] - images)
    return mixed, targets + amount * (targets[::-1] - targets)


def labelled(photos: Photos, size: int, teacher: Callable[[Any], Any] | None) -> Draw:
    """Return what draws batches for a classifier: cropped, mirrored, mixed, and taught.

    The targets are smoothed labels; 0.7 of them are what ``teacher`` says of the very same image.
    """
    classes, side = len(photos.split.class_names), photos.pixels.shape[1]

    @jax.jit
    def batch(key: Any, images: Any, labels: Any) -> tuple[Any, Any]:
        keys = jax.random.split(key, 3)
        boxes = random_boxes(keys[0], len(images), 0.3, side)
        x = cut(images, boxes, jax.random.bernoulli(keys[1], 0.5, (len(images),)), size)
        y = jax.nn.one_hot(labels, classes) * (1 - _SMOOTHING) + _SMOOTHING / classes
        x, y = mix(keys[2], x, y)
        if teacher:
            y = y + _OF_TEACHER * (teacher(x) - y)
        return x, y

    return lambda key, rows: batch(key, photos.pixels[rows], photos.labels[rows])


def mapped(photos: Photos, size: int, maps: Any) -> Draw:
    """Return what draws batches for a decoder: cropped and mirrored, with stored maps."""
    side = photos.pixels.shape[1]

    @jax.jit
    def batch(key: Any, images: Any, maps: Any, labels: Any) -> tuple[Any, Any]:
        keys = jax.random.split(key, 2)
        boxes = random_boxes(keys[0], len(images), 0.5, side)
        mirrored = jax.random.bernoulli(keys[1], 0.5, (len(images),))
        part = cut(maps[..., None], boxes * (maps.shape[1] / side), mirrored, size)
        return cut(images, boxes, mirrored, size), {"label": labels, "cam": part[..., 0]}

    return lambda key, rows: batch(key, photos.pixels[rows], maps[rows], photos.labels[rows])


class Batches(keras.utils.PyDataset):
    """The batches of an epoch, each drawn when it is asked for.

    Args:
        draw: compiled, of a key and the numbers of a batch's photos.
        photos: number of them.
        batch_size: photos in a batch.
        most: number of batches at most; None for all.
    """

    def __init__(self, draw: Draw, photos: int, batch_size: int, most: int | None) -> None:
        super().__init__()
        self._draw, self._photos, self._size = draw, photos, min(batch_size, photos)
        self._most = most or photos
        self.begin(0)

    @property
    def num_batches(self) -> int:
        return min(self._photos // self._size, self._most)

    def begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - of a callback
        """Shuffle for an epoch, the same whichever came before."""
        self._order = np.random.default_rng(epoch).permutation(self._photos)
        self._key = jax.random.key(epoch)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        rows = self._order[index * self._size : (index + 1) * self._size]
        return self._draw(jax.random.fold_in(self._key, index), rows)
