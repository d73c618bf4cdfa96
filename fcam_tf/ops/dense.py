"""The exact Gaussian affinity, pair by pair: slow, but runs under every backend and compiler."""

from __future__ import annotations

from typing import Any

from keras import ops

_PAIRS = 2**23  # of pixels at a time: 32 MB of float32


def dense_bilateral_filter(
    values: Any, images: Any, sigma_rgb: float = 15.0, sigma_xy: float = 100.0
) -> Any:
    """Filter values by the exact affinity: ``W_ij = exp(-|f_i - f_j|^2 / 2)``, not normalised.

    It takes O((H W)^2) time; rows of W are computed one block at a time and then dropped. It serves
    as the reference for the lattice, and for small images where the lattice cannot run (XLA, JAX,
    torch).

    Args:
        values: (B, H, W, C) float32. H and W must be known when the graph is built.
        images: (B, H, W, channels), any number of channels.
        sigma_rgb: standard deviation over the channels of ``images``.
        sigma_xy: standard deviation over positions, in pixels.

    Returns:
        (B, H, W, C) float32.

    Raises:
        ValueError: the height or width is unknown.
    """
    height, width = images.shape[1:3]
    if height is None or width is None:
        raise ValueError(
            "the exact filter needs a known height and width. Received: images of shape "
            f"{tuple(images.shape)}."
        )
    pixels = height * width
    y, x = ops.meshgrid(*(ops.arange(n, dtype="int32") for n in (height, width)), indexing="ij")
    position = ops.cast(ops.stack([x, y], axis=-1), "float32") / sigma_xy
    position = ops.broadcast_to(position[None], (*ops.shape(images)[:3], 2))
    features = ops.concatenate([position, ops.cast(images, "float32") / sigma_rgb], axis=-1)
    features = ops.reshape(features, (-1, pixels, features.shape[-1]))
    flat = ops.reshape(ops.cast(values, "float32"), (-1, pixels, values.shape[-1]))

    rows = max(1, min(pixels, _PAIRS // pixels))
    blocks = -(-pixels // rows)
    padded = ops.pad(features, [[0, 0], [0, blocks * rows - pixels], [0, 0]])

    def block(start: Any) -> Any:
        some = ops.slice(padded, (0, start, 0), (ops.shape(padded)[0], rows, padded.shape[-1]))
        # Differences are formed outright: |a|^2 - 2ab + |b|^2 would cancel in float32.
        squares = sum(
            ops.square(some[:, :, None, c] - features[:, None, :, c])
            for c in range(features.shape[-1])
        )
        return ops.matmul(ops.exp(-0.5 * squares), flat)

    filtered = ops.map(block, rows * ops.arange(blocks, dtype="int32"))  # (blocks, B, rows, C)
    filtered = ops.reshape(
        ops.transpose(filtered, (1, 0, 2, 3)), (-1, blocks * rows, flat.shape[-1])
    )
    return ops.reshape(filtered[:, :pixels], ops.shape(values))
