"""Boxes: derived from heat maps, compared with each other, moved between frames.

Boxes are rows x0, y0, x1, y1 in pixels. Ground truth is inclusive on both sides; a predicted
box has x1 and y1 one past its last pixel unless that leaves the map. Both are facts of the
benchmark (Choe et al., CVPR 2020), and every published MaxBoxAcc contains them.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fcam_tf.grey_levels import to_levels
from fcam_tf.metrics.contours import all_contours, largest_contours
from fcam_tf.metrics.scoremap import check_scoremap

Boxes = NDArray[np.int64]


class InvalidBoxError(ValueError, RuntimeError):
    """A malformed box. The reference evaluator raises RuntimeError here, so it is that, too."""


def boxes_from_map(heatmap: ArrayLike, threshold: float, multiple: bool = False) -> Boxes:
    """Boxes around the pixels above a threshold, in the benchmark's convention.

    The map is truncated to 8 bits and a pixel is foreground if it is above
    ``int(threshold * maximum)`` of that 8-bit map.

    Args:
        heatmap: (H, W) floats in [0, 1].
        threshold: in [0, 1), relative to the map's maximum.
        multiple: False for the contour with the largest area (MaxBoxAcc), True for all contours,
            including those around holes (MaxBoxAccV2).

    Returns:
        (n, 4) int64 boxes sorted by x0, y0, x1, y1; the single box [0, 0, 0, 0] if nothing
        exceeds the threshold.

    Raises:
        TypeError, ValueError: see ``check_scoremap``; ValueError for a threshold outside [0, 1).

    Examples:
        >>> heatmap = np.zeros((10, 10))
        >>> heatmap[2:6, 3:9] = 0.5
        >>> fcam_tf.metrics.boxes_from_map(heatmap, threshold=0.5).tolist()
        [[3, 2, 9, 6]]
    """
    if not 0 <= threshold < 1:
        raise ValueError(
            f"`threshold` must be in [0, 1), relative to the map's maximum. Received: {threshold}."
        )
    levels = to_levels(check_scoremap(heatmap))
    cut = int(threshold * levels.max())
    binary = (levels > cut).astype(np.uint8)
    boxes = (all_contours if multiple else largest_contours)(binary).at(0)
    return boxes[np.lexsort(boxes.T[::-1])]


def box_iou(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of every pair of boxes, pixel-inclusive (a box [0, 0, 0, 0] has 1).

    Args:
        a: (n, 4) boxes x0, y0, x1, y1.
        b: (m, 4) boxes.

    Returns:
        (n, m) float64 in [0, 1].

    Raises:
        InvalidBoxError: for another shape, a negative or non-finite coordinate, x1 < x0 or
            y1 < y0.

    Examples:
        >>> fcam_tf.metrics.box_iou([[0, 0, 9, 9]], [[0, 0, 9, 4], [20, 20, 29, 29]]).tolist()
        [[0.5, 0.0]]
    """
    return pairwise_iou(check_boxes(a, "`a`"), check_boxes(b, "`b`"))


def pairwise_iou(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """``box_iou`` of boxes that are known to be valid."""
    ax0, ay0, ax1, ay1 = a.T[:, :, None]
    bx0, by0, bx1, by1 = b.T[:, None, :]
    width = np.minimum(ax1, bx1) - np.maximum(ax0, bx0) + 1
    height = np.minimum(ay1, by1) - np.maximum(ay0, by0) + 1
    shared = np.maximum(0, width) * np.maximum(0, height)
    area_a = (ax1 - ax0 + 1) * (ay1 - ay0 + 1)
    area_b = (bx1 - bx0 + 1) * (by1 - by0 + 1)
    return shared / (area_a + area_b - shared)


def resize_boxes(boxes: ArrayLike, size: tuple[int, int], frame: tuple[int, int]) -> Boxes:
    """Moves boxes from an image into the frame of its heat map, truncating as the benchmark does.

    Args:
        boxes: (n, 4) boxes in the image.
        size: (width, height) of the image, in the order of the metadata files.
        frame: (width, height) to bring them to, e.g. (224, 224).

    Returns:
        (n, 4) int64 boxes.

    Raises:
        InvalidBoxError: see ``box_iou``.
        ValueError: if a size is not positive.
    """
    for name, value in (("size", size), ("frame", frame)):
        if len(value) != 2 or min(value) <= 0:
            raise ValueError(f"`{name}` must be positive (width, height). Received: {value}.")
    array = check_boxes(boxes).astype(np.float64)
    return np.trunc(array * np.tile(frame, 2) / np.tile(size, 2)).astype(np.int64)


def check_boxes(boxes: ArrayLike, name: str = "`boxes`") -> NDArray:
    """Returns boxes as an (n, 4) array, or raises the InvalidBoxError of ``box_iou``."""
    array = np.asarray(boxes)
    if array.ndim != 2 or array.shape[1] != 4 or array.dtype.kind not in "iuf":
        raise InvalidBoxError(
            f"{name} must be numbers of shape (n, 4), x0 y0 x1 y1. Received: shape {array.shape} "
            f"and dtype {array.dtype}."
        )
    if array.dtype.kind == "u":
        array = array.astype(np.int64)
    x0, y0, x1, y1 = array.T
    wrong = ~(np.isfinite(array).all(1) & (x0 >= 0) & (y0 >= 0) & (x1 >= x0) & (y1 >= y0))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InvalidBoxError(
            f"{name} must have 0 <= x0 <= x1 and 0 <= y0 <= y1. Received: {array[row].tolist()} "
            f"in row {row}. Convert boxes that are given as x, y, width, height."
        )
    return array
