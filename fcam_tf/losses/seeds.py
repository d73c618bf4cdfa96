"""Seeds: the few pixels of a coarse map that a full-resolution map must agree with (SR)."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

from fcam_tf import checks
from fcam_tf.grey_levels import LEVELS
from fcam_tf.masks import IGNORED

_SUBLEVELS = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeedSampling:
    """Settings for drawing seeds from coarse maps (F-CAM, section 3).

    Object seeds are drawn uniformly, without replacement, from the pixels above Otsu's threshold of
    the 8-bit map, after an erosion. The erosion treats pixels outside the image as object, and is
    skipped if it would leave nothing. Background seeds are drawn uniformly from the
    ``negative_fraction`` of the pixels with the lowest activation; if pixels tie at the limit
    (closer than 1e-6), it is random which of them belong. Each drawn pixel grows to a square, and
    pixels in squares of both kinds are ignored. A constant map gives no seeds.

    Attributes:
        positives: object pixels drawn from each map (n+).
        negatives: background pixels drawn from each map.
        kernel: odd side of the square that a drawn pixel grows to, in pixels.
        negative_fraction: n-, fraction of the pixels that background seeds are drawn from, in (0,
            1].
        erosion: odd side of the square that erodes the object region, in pixels; 1 does nothing.
        erosion_iterations: how often the region is eroded.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is of another type.
    """

    positives: int = 1
    negatives: int = 1
    kernel: int = 3
    negative_fraction: float = 0.1
    erosion: int = 11
    erosion_iterations: int = 1

    def __post_init__(self) -> None:
        checks.whole("positives", self.positives, 1)
        checks.whole("negatives", self.negatives, 1)
        checks.odd("kernel", self.kernel)
        checks.number("negative_fraction", self.negative_fraction, "(0, 1]")
        checks.odd("erosion", self.erosion)
        checks.whole("erosion_iterations", self.erosion_iterations, 0)

    def sample_seeds(self, cams: Any, seed: int | keras.random.SeedGenerator) -> Any:
        """Draw the seeds of a batch.

        Works on the whole batch at once, eagerly or in a graph, on every backend; it has no
        gradient.

        Args:
            cams: (B, H, W) maps in [0, 1]; NaN counts as 0, values outside the range are clipped.
            seed: int for the same draw at each call, or a SeedGenerator for a new draw at each
                call.

        Returns:
            (B, H, W) int32: 1 object, 0 background, `IGNORED` elsewhere.

        Raises:
            ValueError: the maps have a known size, and fewer pixels than are to be drawn.
        """
        cams = ops.clip(ops.nan_to_num(ops.cast(cams, "float32"), 0.0, 1.0, 0.0), 0.0, 1.0)
        shape = ops.shape(cams)
        batch, height, width = shape
        pixels = height * width
        for name in ("positives", "negatives"):
            if isinstance(pixels, int) and getattr(self, name) > pixels:
                raise ValueError(
                    f"`{name}` must not exceed the number of pixels of a map. Received: "
                    f"{getattr(self, name)} for maps of {height}x{width}."
                )
        scaled = ops.reshape(255.0 * cams, (batch, pixels))
        levels = ops.floor(scaled)
        counts = _histogram(ops.cast(levels, "int32"), LEVELS)
        noise = keras.random.uniform((3, batch, pixels), dtype="float32", seed=seed)

        regions = levels > ops.cast(_otsu(counts), "float32")
        regions = _erode(ops.reshape(regions, shape), self.erosion, self.erosion_iterations)
        objects = _draw(ops.reshape(regions, (batch, pixels)), noise[0], self.positives)
        background = self._draw_background(scaled, levels, counts, noise[1:])

        varied = ops.max(levels, axis=1, keepdims=True) > ops.min(levels, axis=1, keepdims=True)
        objects, background = (
            _squares(places, ops.logical_and(valid, varied), self.kernel, shape)
            for places, valid in (objects, background)
        )
        seeds = ops.where(background, 0, ops.where(objects, 1, IGNORED))
        return ops.cast(ops.where(ops.logical_and(background, objects), IGNORED, seeds), "int32")

    def _draw_background(self, scaled: Any, levels: Any, counts: Any, noise: Any) -> Any:
        """Return places (B, 2 negatives) among the lowest pixels, and which of them count."""
        pixels = ops.shape(scaled)[1]
        if isinstance(pixels, int):
            pool = int(self.negative_fraction * pixels)
        else:
            pool = ops.cast(self.negative_fraction * ops.cast(pixels, "float64"), "int32")
        below, ties = _lowest(scaled, levels, counts, pool)
        # Which of the ties belong to the pool need not be decided: it is enough to know how many
        # of the draws fall on them. Places 0, 1, .. of the pool are those below the limit.
        in_pool = ops.arange(pixels, dtype="int32")[None] < pool
        places, valid = _draw(in_pool, noise[0], self.negatives)
        from_ties = _count(ops.logical_and(valid, places >= _count(below)))
        parts = [(below, _count(valid) - from_ties), (ties, from_ties)]
        order = ops.arange(self.negatives, dtype="int32")[None]
        drawn = [_draw(masks, noise[1], self.negatives)[0] for masks, _ in parts]
        counted = [order < number for _, number in parts]
        return ops.concatenate(drawn, axis=1), ops.concatenate(counted, axis=1)


def sample_seeds(cams: Any, seed: int | keras.random.SeedGenerator, **options: Any) -> Any:
    """Draw object and background seeds from coarse maps, with the ``options`` of `SeedSampling`.

    Args, result and errors are those of `SeedSampling` and its ``sample_seeds``.

    Examples:
        >>> coarse = np.linspace(0, 1, 64).reshape(1, 8, 8)
        >>> seeds = fcam_tf.losses.sample_seeds(coarse, seed=0, positives=2, negatives=3)
        >>> np.unique(seeds)  # background, object, and what is ignored
        array([  0,   1, 255], dtype=int32)
    """
    return SeedSampling(**options).sample_seeds(cams, seed)


def _otsu(counts: Any) -> Any:
    """Return (B, 1) thresholds from (B, 256) counts: classes are <= and >, in [1, 254]."""
    moments = counts * ops.arange(LEVELS, dtype="int32")
    below, moment = ops.cumsum(counts, axis=1)[:, :-1], ops.cumsum(moments, axis=1)[:, :-1]
    total, moment_total = _count(counts), _count(moments)
    # Integers until here, so that equal splits are exactly equal and the first of them wins.
    below, above, moment, rest = (
        ops.cast(x, "float32") for x in (below, total - below, moment, moment_total - moment)
    )
    distance = moment / ops.maximum(below, 1.0) - rest / ops.maximum(above, 1.0)
    variance = (below / (below + above)) * above * distance**2
    return ops.clip(ops.argmax(variance, axis=1, keepdims=True), 1, LEVELS - 2)


def _erode(regions: Any, side: int, iterations: int) -> Any:
    for _ in range(iterations if side > 1 else 0):
        eroded = ops.logical_not(_any_in_square(ops.logical_not(regions), side))
        something = ops.any(eroded, axis=(1, 2), keepdims=True)
        regions = ops.where(something, eroded, regions)
    return regions


def _any_in_square(masks: Any, side: int) -> Any:
    """Dilate (B, H, W), one axis at a time; columns as channels keep the pooling fast."""
    x = ops.cast(masks, "float32")[:, :, None, :]
    for _ in range(2):
        x = ops.max_pool(x, (side, 1), 1, padding="same", data_format="channels_last")
        x = ops.transpose(x, (0, 3, 2, 1))
    return x[:, :, 0, :] > 0


def _lowest(scaled: Any, levels: Any, counts: Any, pool: Any) -> tuple[Any, Any]:
    """Return which pixels are among the lowest ``pool`` for sure, and which tie for the last."""
    # By counting, level by level: to sort would cost more than all the rest.
    below, left = levels < 0, pool
    ties = levels >= 0
    for size in (LEVELS, _SUBLEVELS):
        reached = ops.cumsum(counts, axis=1)
        limit = ops.sum(ops.cast(reached < left, "int32"), axis=1, keepdims=True)
        under = ops.where(ops.arange(size, dtype="int32")[None] < limit, counts, 0)
        left = left - _count(under)
        limit = ops.cast(limit, "float32")
        below = ops.logical_or(below, ops.logical_and(ties, levels < limit))
        ties = ops.logical_and(ties, levels == limit)
        if size == LEVELS:
            levels = ops.clip(ops.floor((scaled - levels) * _SUBLEVELS), 0, _SUBLEVELS - 1)
            counts = _histogram(ops.cast(ops.where(ties, levels, _SUBLEVELS), "int32"), _SUBLEVELS)
    return below, ties


def _histogram(levels: Any, size: int) -> Any:
    """Count (B, N) integers from 0; those of ``size`` are left out."""
    batch = ops.shape(levels)[0]
    rows = levels + (size + 1) * ops.arange(batch, dtype="int32")[:, None]
    flat = ops.reshape(rows, (-1,))
    counts = ops.segment_sum(ops.ones_like(flat), flat, num_segments=batch * (size + 1))
    return ops.reshape(counts, (batch, size + 1))[:, :size]


def _draw(masks: Any, noise: Any, number: int) -> tuple[Any, Any]:
    """Draw distinct places of (B, N) masks, uniformly: (B, number) places and whether they are."""
    score, places = ops.top_k(ops.where(masks, noise, -1.0), number)
    return places, score >= 0


def _squares(places: Any, valid: Any, side: int, shape: Any) -> Any:
    """Return (B, H, W) bool: the squares around flat places, cut at the image's border."""
    batch, height, width = shape
    pixels = height * width
    flat = places + pixels * ops.arange(batch, dtype="int32")[:, None]
    hits = ops.segment_max(
        ops.reshape(ops.cast(valid, "int32"), (-1,)),
        ops.reshape(flat, (-1,)),
        num_segments=batch * pixels,
    )
    return _any_in_square(ops.reshape(hits, shape) > 0, side)


def _count(counts: Any) -> Any:
    return ops.sum(ops.cast(counts, "int32"), axis=1, keepdims=True)
