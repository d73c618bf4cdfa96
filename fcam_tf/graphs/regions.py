"""Object regions as `fcam_tf.localization` finds them, in core TensorFlow for any server."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fcam_tf.grey_levels import LEVELS
from fcam_tf.localization import NO_BOX, OTSU


def object_masks(heatmaps: Any, threshold: str | float) -> Any:
    """Do what ``localization`` does: the largest region (B, H, W) above each map's threshold."""
    values = tf.cast(tf.clip_by_value(255.0 * tf.cast(heatmaps, tf.float64), 0, 255), tf.int32)
    if threshold == OTSU:
        levels = _otsu(values)  # always below the peak; OpenVINO gets minima of them wrong
    else:
        peaks = tf.reduce_max(values, axis=(1, 2))
        levels = tf.cast(float(threshold) * tf.cast(peaks, tf.float64), tf.int32)
        levels = tf.maximum(0, tf.minimum(levels, peaks - 1))
    return largest_components(values > levels[:, None, None])


def largest_components(masks: Any) -> Any:
    """Do what ``localization.largest_component`` does for each of (B, H, W) bool."""
    batch, height, width = tf.unstack(tf.shape(masks))
    number = batch * height * width
    # Falling in reading order, so that the largest label of a component names its first pixel.
    places = tf.reshape(tf.range(number, 0, -1), (batch, height, width))
    start = tf.where(masks, places, 0)

    def step(labels: Any, _: Any) -> tuple[Any, Any]:
        # Take over the largest label beside, then the label of the pixel that it names: paths of
        # any length are covered in few steps.
        spread = tf.nn.max_pool2d(labels[..., None], 3, 1, "SAME")[..., 0]
        spread = tf.where(masks, spread, 0)
        table = tf.concat([[0], tf.reshape(spread, [-1])[::-1]], axis=0)
        found = tf.gather(table, spread)
        return found, tf.reduce_any(found != labels)

    labels, _ = tf.while_loop(lambda _, changed: changed, step, (start, tf.reduce_any(masks)))
    flat = tf.reshape(labels, [-1])
    sizes = tf.gather(tf.math.unsorted_segment_sum(tf.ones_like(flat), flat, number + 1), labels)
    sizes = tf.where(masks, sizes, 0)
    largest = masks & (sizes == tf.reduce_max(sizes, axis=(1, 2), keepdims=True))
    labels = tf.where(largest, labels, 0)
    return largest & (labels == tf.reduce_max(labels, axis=(1, 2), keepdims=True))


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


def _otsu(values: Any) -> Any:
    batch = tf.shape(values)[0]
    # One histogram for each map. A segment sum, as other engines do not know tf.math.bincount.
    bins = tf.reshape(values + LEVELS * tf.range(batch)[:, None, None], [-1])
    counts = tf.math.unsorted_segment_sum(tf.ones_like(bins), bins, LEVELS * batch)
    counts = tf.cast(tf.reshape(counts, (batch, LEVELS)), tf.float64)
    moments = counts * tf.range(LEVELS, dtype=tf.float64)
    below, above = tf.cumsum(counts, axis=1), tf.cumsum(counts, axis=1, reverse=True)
    mean_below = tf.cumsum(moments, axis=1) / tf.maximum(below, 1)
    mean_above = tf.cumsum(moments, axis=1, reverse=True) / tf.maximum(above, 1)
    distance = mean_below[:, :-1] - mean_above[:, 1:]
    variance = below[:, :-1] * above[:, 1:] * distance**2
    return tf.argmax(variance, axis=1, output_type=tf.int32)
