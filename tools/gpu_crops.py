"""What tools/gpu_training.py does to photos on the GPU, inside compiled steps of JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


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


def cut(images: Any, boxes: Any, mirrored: Any, size: int) -> Any:
    """Scale a box of each image to a square: bilinear, half-pixel centres, no antialiasing.

    Args:
        images: (B, h, w, C) of any type.
        boxes: (B, 4) x0, y0, x1, y1 in pixels of the images.
        mirrored: (B,) bool, which ones to flip from left to right.
        size: side of the result, in pixels.

    Returns:
        (B, size, size, C) float32.
    """
    place = (jnp.arange(size) + 0.5) / size
    columns = jnp.where(mirrored[:, None], 1.0 - place, place)
    rows = jnp.broadcast_to(place, columns.shape)

    def weights(low: Any, high: Any, places: Any, count: int) -> Any:
        at = low[:, None] + (high - low)[:, None] * places - 0.5
        at = jnp.clip(at, 0.0, count - 1.0)
        return jnp.maximum(1.0 - jnp.abs(at[..., None] - jnp.arange(count)), 0.0)

    vertical = weights(boxes[:, 1], boxes[:, 3], rows, images.shape[1])
    horizontal = weights(boxes[:, 0], boxes[:, 2], columns, images.shape[2])
    return jnp.einsum(
        "bih,bhwc,bjw->bijc",
        vertical,
        images.astype(jnp.float32),
        horizontal,
        precision="highest",
    )


def whole(images: Any, size: int, mirrored: bool = False) -> Any:
    """Scale whole images to a square, (B, size, size, C) float32."""
    batch, height, width = images.shape[:3]
    boxes = jnp.broadcast_to(jnp.array([0.0, 0.0, width, height]), (batch, 4))
    return cut(images, boxes, jnp.full(batch, mirrored), size)


def mix(key: Any, images: Any, targets: Any) -> tuple[Any, Any]:
    """Mix each image with another of the batch: 40 % by CutMix, 30 % by mixup, the rest not.

    CutMix (Yun et al., ICCV 2019) with a box of uniform area, mixup (Zhang et al., ICLR 2018) with
    a uniform share.

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
    share = jax.random.uniform(keys[1], (batch, 1, 1, 1))  # of the other image
    centre = jax.random.uniform(keys[2], (2, batch, 1, 1, 1))
    half = 0.5 * jnp.sqrt(share)
    y = (jnp.arange(height)[:, None, None] + 0.5) / height
    x = (jnp.arange(width)[None, :, None] + 0.5) / width
    box = (jnp.abs(y - centre[0]) < half) & (jnp.abs(x - centre[1]) < half)
    other = jnp.where(kind < 0.4, box.astype(jnp.float32), jnp.where(kind < 0.7, share, 0.0))
    amount = jnp.mean(jnp.broadcast_to(other, (batch, height, width, 1)), axis=(1, 2))
    mixed = images + other * (images[::-1] - images)
    return mixed, targets + amount * (targets[::-1] - targets)
