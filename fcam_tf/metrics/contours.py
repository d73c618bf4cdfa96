"""The contours that OpenCV would find in an 8-bit map at every threshold, as boxes.

The benchmark (Choe et al., CVPR 2020) thresholds a map, ``image > t``, and traces contours with
``cv2.findContours(RETR_TREE)``. The same boxes follow without tracing: an outer contour is an
8-connected component of the foreground and has its bounding box; a hole's contour runs on the
foreground around a 4-connected background component that does not reach the border, so its box
is that component's, grown by one pixel on each side.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcam_tf.grey_levels import LEVELS
from fcam_tf.metrics.component_tree import (
    Bytes,
    Components,
    Forest,
    Ints,
    ancestors,
    build_forest,
    components,
    joins_highest_at,
)


class Contours(NamedTuple):
    """Boxes and the thresholds at which each is there."""

    # (n, 4) int x0, y0, x1, y1; x1 and y1 are one past the last pixel unless that would leave the
    # map (OpenCV's width added to x0, then clipped, as the benchmark does).
    boxes: Ints
    first: Ints  # (n,) lowest threshold t with the contour present in ``image > t``
    stop: Ints  # (n,) one past the highest such threshold

    def at(self, threshold: int) -> Ints:
        """(m, 4) boxes of ``image > threshold``; the default box [0, 0, 0, 0] if there is none."""
        boxes = self.boxes[(self.first <= threshold) & (threshold < self.stop)]
        return boxes if boxes.size else np.zeros((1, 4), np.int64)


def all_contours(image: Bytes) -> Contours:
    """Outer and hole contours at every threshold of a uint8 (height, width) map."""
    forest = build_forest(image, connectivity=8)
    outer = components(forest, image)
    inverted, background = _background(image)
    holes = components(background, inverted)
    inside = np.flatnonzero(holes.hill != background.parent.size - 1)
    # In the padded frame every coordinate is one larger, which is the hole's growth on the right.
    around = holes.corners[:, inside] - np.array([[2], [2], [0], [0]])
    boxes = _clip(image.shape, *np.concatenate([outer.corners, around], axis=1))
    first = np.concatenate([np.maximum(outer.below, 0), LEVELS - 1 - holes.level[inside]])
    stop = np.concatenate([outer.level, LEVELS - 1 - holes.below[inside]])
    present = first < stop
    return Contours(boxes[present], first[present], stop[present])


def largest_contours(image: Bytes) -> Contours:
    """The contour of the largest area at every threshold of a uint8 (height, width) map.

    The area is OpenCV's: of the polygon through the pixel centres, holes filled. Of equal areas
    the component wins whose first pixel in raster order comes last.
    """
    filled = fill_holes(image)
    tree = components(build_forest(filled, connectivity=8), filled, with_pixels=True)
    area = _areas(filled, tree)
    first_pixel = np.full(tree.level.size, image.size)
    np.minimum.at(first_pixel, tree.of_pixel, np.arange(image.size))
    for ancestor in ancestors(tree.parent):
        np.minimum.at(first_pixel, ancestor, first_pixel)

    order = np.lexsort((first_pixel, area))
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    best = best_per_threshold(rank, np.maximum(tree.below, 0), tree.level, default=-1)
    threshold = np.flatnonzero(best >= 0)
    corners = tree.corners[:, order[best[threshold]]]
    return Contours(_clip(image.shape, *corners), threshold, threshold + 1)


def fill_holes(image: Bytes) -> Bytes:
    """Raises every pixel to the lowest level at which it can be reached from outside the map."""
    inverted, background = _background(image)
    reached = joins_highest_at(background)[background.hill_of][background.run_of]
    reached = reached.reshape(inverted.shape)
    level = (LEVELS - 1 - reached[1:-1, 1:-1]).astype(np.uint8)
    return np.maximum(image, level)


def best_per_threshold(values: NDArray, first: Ints, stop: Ints, default: float) -> NDArray:
    """(256,) maximum at each threshold t of ``default`` and the values with first <= t < stop.

    A sparse table turned round: a value is written to the two power-of-two spans that cover its
    range, and spans are then pushed down to single thresholds.
    """
    present = np.flatnonzero(first < stop)
    values, first, stop = values[present], first[present], stop[present]
    power = np.frexp(stop - first)[1] - 1
    table = np.full((9, LEVELS), default, values.dtype)
    np.maximum.at(table.ravel(), power * LEVELS + first, values)
    np.maximum.at(table.ravel(), power * LEVELS + stop - 2**power, values)
    for p in range(8, 0, -1):
        half = 2 ** (p - 1)
        np.maximum(table[p - 1], table[p], out=table[p - 1])
        np.maximum(table[p - 1, half:], table[p, :-half], out=table[p - 1, half:])
    return table[0]


def _background(image: Bytes) -> tuple[Bytes, Forest]:
    """The inverted map in a frame of one pixel of background, whose hill is the highest."""
    inverted = LEVELS - 1 - np.pad(image, 1)
    return inverted, build_forest(inverted, connectivity=4)


def _areas(image: Bytes, tree: Components) -> Ints:
    """Twice OpenCV's contour area of every component of a map without holes.

    Each window of 2 x 2 pixels adds half a unit where three of its pixels are set and another
    where all four are, so it enters the tree at its third highest and at its lowest pixel.
    """
    pixel = np.arange(image.size).reshape(image.shape)
    tagged = (image.astype(np.int64) << 32) | pixel
    a, b, c, d = tagged[:-1, :-1], tagged[:-1, 1:], tagged[1:, :-1], tagged[1:, 1:]
    low_row, low_next = np.minimum(a, b), np.minimum(c, d)
    lowest = np.minimum(low_row, low_next)
    high = np.minimum(np.maximum(a, b), np.maximum(c, d))
    third = np.minimum(np.maximum(low_row, low_next), high)
    entry = np.concatenate([lowest.ravel(), third.ravel()]) & (2**32 - 1)
    area = np.bincount(tree.of_pixel[entry], minlength=tree.level.size)

    # Sums, unlike maxima, must not be pushed twice: a node that passed the root is dropped.
    nowhere = tree.level.size
    area = np.append(area, 0)
    parent = np.append(tree.parent, nowhere)
    parent[parent == np.arange(nowhere + 1)] = nowhere
    for ancestor in ancestors(parent):
        area = area + np.bincount(ancestor, weights=area, minlength=nowhere + 1).astype(np.int64)
        area[nowhere] = 0
    return area[:-1]


def _clip(shape: tuple[int, ...], x0: Ints, y0: Ints, x1: Ints, y1: Ints) -> Ints:
    height, width = shape
    return np.stack([x0, y0, np.minimum(x1 + 1, width - 1), np.minimum(y1 + 1, height - 1)], 1)
