"""Per-image curves: what every threshold of one heat map would score, in NumPy."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.filters import threshold_otsu

from fcam_tf.metrics.boxes import check_boxes, contours, pairwise_iou
from fcam_tf.metrics.component_tree import LEVELS
from fcam_tf.metrics.contours import Contours, best_per_threshold
from fcam_tf.metrics.scoremap import Floats, check_scoremap, to_levels

Bytes = NDArray[np.uint8]


class BoxCurve(NamedTuple):
    """What one image scores at every 8-bit threshold: all that box metrics need to know of it.

    Attributes:
        iou: (256, instances) IoU at each threshold; one column where the image counts as one.
        peak: the map's maximum, which relative thresholds refer to.
        otsu: Otsu's threshold of the map.
    """

    iou: Floats
    peak: int
    otsu: int

    def at(self, thresholds: ArrayLike) -> Floats:
        """(T, instances) IoU at relative thresholds in [0, 1)."""
        return self.iou[grey_thresholds(self.peak, np.asarray(thresholds))]


def threshold_grid(interval: float = 0.001) -> Floats:
    """The relative thresholds 0, interval, 2 * interval, ... below 1.

    Raises:
        ValueError: if ``interval`` is not in (0, 1].
    """
    if not 0 < interval <= 1:
        raise ValueError(f"interval must be in (0, 1], got {interval}; the benchmark uses 0.001")
    return np.arange(0, 1, interval)


def iou_curve(
    heatmap: ArrayLike, boxes: ArrayLike, thresholds: ArrayLike, multiple: bool = False
) -> Floats:
    """Best IoU of any predicted with any true box of one image, at each threshold.

    Args:
        heatmap: (H, W) floats in [0, 1].
        boxes: (n, 4) true boxes in the map's frame, n >= 1.
        thresholds: (T,) in [0, 1), relative to the map's maximum.
        multiple: which boxes a threshold gives, see ``boxes_from_map``.

    Returns:
        (T,) float64 IoU.

    Raises:
        TypeError, ValueError: see ``check_scoremap`` and ``check_boxes``; without a true box.
    """
    levels = to_levels(check_scoremap(heatmap))
    curve = best_iou(contours(levels, multiple=multiple), check_truth(boxes))
    return curve[grey_thresholds(levels.max(), np.asarray(thresholds))]


def grey_thresholds(peak: int, thresholds: Floats) -> NDArray[np.int64]:
    """The 8-bit thresholds that relative ones stand for in a map with this maximum."""
    return (thresholds * float(peak)).astype(np.int64)


def otsu_level(levels: Bytes) -> int:
    """Otsu's threshold of an 8-bit map (foreground is above); a flat map has no foreground."""
    counts = np.bincount(levels.ravel())
    low = int(levels.min())
    if low + 1 == counts.size:
        return low
    return int(threshold_otsu(hist=(counts[low:], np.arange(low, counts.size))))


def best_iou(found: Contours, truth: NDArray) -> Floats:
    """(256,) best IoU of any predicted with any true box at every 8-bit threshold."""
    values = pairwise_iou(found.boxes, truth).max(axis=1)
    nothing = pairwise_iou(np.zeros((1, 4), np.int64), truth).max()
    curve = best_per_threshold(values, found.first, found.stop, default=-1)
    return np.where(curve < 0, nothing, curve)


def matched_iou(found: Contours, truth: NDArray) -> Floats:
    """(256, n) IoU that each true box is left with after one-to-one matching.

    Greedy: the pair with the largest IoU is matched and both leave, until no true or no
    predicted box is left; a true box without a partner has 0.
    """
    if len(truth) == 1:  # it gets the best box there is
        return best_iou(found, truth)[:, None]
    ious = pairwise_iou(found.boxes, truth)
    nothing = pairwise_iou(np.zeros((1, 4), np.int64), truth)
    curve = np.empty((LEVELS, len(truth)))
    for threshold in range(LEVELS):
        present = ious[(found.first <= threshold) & (threshold < found.stop)]
        curve[threshold] = _match(present if len(present) else nothing)
    return curve


def check_truth(boxes: ArrayLike, name: str = "boxes") -> NDArray:
    """``check_boxes``, and there must be at least one."""
    array = np.asarray(boxes)
    if array.size == 0:
        raise ValueError(f"{name} is empty; leave out images without a ground-truth box")
    return check_boxes(array, name)


def _match(ious: Floats) -> Floats:
    ious = ious.copy()
    matched = np.zeros(ious.shape[1])
    for _ in range(min(ious.shape)):
        row, column = divmod(int(ious.argmax()), ious.shape[1])
        if ious[row, column] <= 0:
            break
        matched[column] = ious[row, column]
        ious[row] = ious[:, column] = -1
    return matched
