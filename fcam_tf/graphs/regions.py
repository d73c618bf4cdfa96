"""Object regions as `fcam_tf.localization` finds them, in core TensorFlow for any server."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from fcam_tf.grey_levels import LEVELS
from fcam_tf.localization import NO_BOX, OTSU

# The smallest float32 of each level: as exact as the library's float64, which LiteRT lacks.
_ROUNDED = (np.arange(LEVELS) / 255).astype(np.float32)
_BOUNDS = np.where(
    255 * _ROUNDED.astype(np.float64) < np.arange(LEVELS), np.nextafter(_ROUNDED, 2), _ROUNDED
)


@dataclasses.dataclass(frozen=True)
class Engine:
    """What runs a graph, as far as it matters here.

    Attributes:
        real: what Otsu's variances are compared in. With float32 he may take the level beside.
        scatters: whether sums over regions are scattered: ONNX's converter makes a square matrix
            of their pixels of a segment sum, which OpenVINO and LiteRT have.
    """

    real: Any = tf.float64
    scatters: bool = False


TENSORFLOW, LITERT, ONNX = Engine(), Engine(real=tf.float32), Engine(scatters=True)


def object_masks(heatmaps: Any, threshold: str | float, engine: Engine = TENSORFLOW) -> Any:
    """Do what ``localization`` does: the largest region (B, H, W) above each map's threshold.

    Heat maps are (B, H, W) float32.
    """
    values = _levels(tf.clip_by_value(heatmaps, 0, 1))
    if threshold == OTSU:
        levels = _otsu(values, engine)  # always below the peak; OpenVINO gets minima of them wrong
    else:
        peaks = tf.reduce_max(values, axis=(1, 2))
        cut = [max(0, min(int(float(threshold) * peak), peak - 1)) for peak in range(LEVELS)]
        levels = tf.gather(tf.constant(cut, tf.int32), peaks)
    return largest_components(values > levels[:, None, None], engine)


def _levels(heatmaps: Any) -> Any:
    """Return heat maps in [0, 1] in 256 levels, int32, as ``grey_levels.to_levels`` does."""
    # What NaN becomes is any number, and must not be looked up.
    values = tf.clip_by_value(tf.cast(255.0 * heatmaps, tf.int32), 0, LEVELS - 1)
    # A product that was rounded up to the next level; none is rounded down past its own.
    return values - tf.cast(heatmaps < tf.gather(tf.constant(_BOUNDS), values), tf.int32)


def largest_components(masks: Any, engine: Engine = TENSORFLOW) -> Any:
    """Do what ``localization.largest_component`` does for each of (B, H, W) bool."""
    batch, height, width = tf.unstack(tf.shape(masks))
    number = batch * height * width
    # Falling in reading order, so that the largest label of a component names its first pixel.
    places = tf.reshape(tf.range(number, 0, -1), (batch, height, width))
    start = tf.where(masks, places, 0)

    def step(labels: Any, _: Any) -> tuple[Any, Any]:
        # Take over the largest label beside, then the label of the pixel that it names: paths of
        # any length are covered in few steps.
        spread = tf.where(masks, _largest_around(_largest_around(labels, 1), 2), 0)
        table = tf.concat([[0], tf.reshape(spread, [-1])[::-1]], axis=0)
        found = tf.gather(table, spread)
        return found, tf.reduce_any(found != labels)

    labels, _ = tf.while_loop(lambda _, changed: changed, step, (start, tf.reduce_any(masks)))
    flat = tf.reshape(labels, [-1])
    sizes = tf.gather(_counts(flat, number + 1, engine), labels)
    sizes = tf.where(masks, sizes, 0)
    largest = masks & (sizes == tf.reduce_max(sizes, axis=(1, 2), keepdims=True))
    labels = tf.where(largest, labels, 0)
    return largest & (labels == tf.reduce_max(labels, axis=(1, 2), keepdims=True))


def _largest_around(labels: Any, axis: int) -> Any:
    """Return the largest of each label and its two neighbours along an axis.

    Not by pooling, which other engines have for floats alone.
    """
    ends = [[0, 0], [1, 1], [0, 0]] if axis == 1 else [[0, 0], [0, 0], [1, 1]]
    padded, size = tf.pad(labels, ends), tf.shape(labels)[axis]
    parts = [padded[:, n : n + size] if axis == 1 else padded[..., n : n + size] for n in range(3)]
    return tf.maximum(tf.maximum(*parts[:2]), parts[2])


def boxes_of(masks: Any) -> Any:
    """Return the boxes (B, 4) int32 around masks (B, H, W); `NO_BOX` where a mask is empty."""
    sides = []
    for axis in (1, 2):  # columns, rows
        there = tf.cast(tf.reduce_any(masks, axis=axis), tf.int32)
        last = tf.shape(there)[1] - 1 - tf.argmax(there[:, ::-1], axis=1, output_type=tf.int32)
        sides.append((tf.argmax(there, axis=1, output_type=tf.int32), last))
    (x0, x1), (y0, y1) = sides
    some = tf.reduce_any(masks, axis=(1, 2))[:, None]
    return tf.where(some, tf.stack([x0, y0, x1, y1], axis=1), tf.constant([NO_BOX], tf.int32))


def scale_boxes(boxes: Any, source: Any, target: Any) -> Any:
    """Scale boxes (B, 4) from one size (2,) to those of pictures (B, 2), as ``scale_box`` does.

    Sizes are int32 width and height.
    """
    first = boxes[:, :2] * target // source
    last = -((boxes[:, 2:] + 1) * -target // source) - 1
    scaled = tf.concat([first, last], axis=1)
    return tf.where(boxes == tf.constant([NO_BOX], tf.int32), boxes, scaled)


def _counts(values: Any, number: Any, engine: Engine) -> Any:
    """Return how often each of 0 to number - 1 is among values (n,), as tf.math.bincount does.

    Not by that, which other engines do not know.
    """
    if engine.scatters:
        zeros = tf.zeros(tf.reshape(number, [1]), tf.int32)
        return tf.tensor_scatter_nd_add(zeros, values[:, None], tf.ones_like(values))
    return tf.math.unsorted_segment_sum(tf.ones_like(values), values, number)


def _otsu(values: Any, engine: Engine) -> Any:
    batch, dtype = tf.shape(values)[0], engine.real
    # One histogram for each map.
    bins = tf.reshape(values + LEVELS * tf.range(batch)[:, None, None], [-1])
    counts = _counts(bins, LEVELS * batch, engine)
    counts = tf.cast(tf.reshape(counts, (batch, LEVELS)), dtype)
    moments = counts * tf.range(LEVELS, dtype=dtype)
    below, above = tf.cumsum(counts, axis=1), tf.cumsum(counts, axis=1, reverse=True)
    mean_below = tf.cumsum(moments, axis=1) / tf.maximum(below, 1)
    mean_above = tf.cumsum(moments, axis=1, reverse=True) / tf.maximum(above, 1)
    distance = mean_below[:, :-1] - mean_above[:, 1:]
    variance = below[:, :-1] * above[:, 1:] * distance * distance
    return tf.argmax(variance, axis=1, output_type=tf.int32)
