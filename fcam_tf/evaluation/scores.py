"""What is kept of one image: enough to count every metric, list it in a table and draw it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fcam_tf.evaluation.truth import Truth
from fcam_tf.metrics.boxes import pairwise_iou
from fcam_tf.metrics.component_tree import LEVELS
from fcam_tf.metrics.contours import all_contours, largest_contours
from fcam_tf.metrics.curves import best_iou, matched_iou, otsu_level, threshold_grid
from fcam_tf.metrics.histogram import score_histogram
from fcam_tf.metrics.scoremap import check_scoremap, to_levels

THRESHOLDS = threshold_grid()
BINS = THRESHOLDS.size + 1  # a score of exactly 1 has one of its own


class Scores(NamedTuple):
    """What one heat map scores at every threshold.

    Attributes:
        levels: (H, W) uint8, the map in the 256 levels that box metrics threshold.
        otsu: Otsu's threshold of it.
        activation: (1000,) share of its pixels in each bin of [0, 1].
        boxes: (256, 4) int16, the box of the largest contour at each threshold.
        iou: (256,) its best IoU with a true box (MaxBoxAcc).
        iou_any: (256,) the best IoU of any contour's box (MaxBoxAccV2).
        iou_each: (256, n) IoU of each true box with its own partner (MaxBoxAccV3).
        histogram: (2, bins) background and object pixels by score (PxAP).

    Box fields are None without true boxes, ``histogram`` without a mask.
    """

    levels: NDArray[np.uint8]
    otsu: int
    activation: NDArray[np.float64]
    boxes: NDArray[np.int16] | None
    iou: NDArray[np.float64] | None
    iou_any: NDArray[np.float64] | None
    iou_each: NDArray[np.float64] | None
    histogram: NDArray[np.int32] | None


def score_map(heatmap: ArrayLike, truth: Truth, name: str) -> Scores:
    """Scores a heat map at every threshold.

    Args:
        heatmap: (H, W) floats in [0, 1], in the frame of the truth.
        truth: of the image.
        name: the image's, for errors.

    Raises:
        TypeError, ValueError: for a bad map, naming the image.
    """
    scores = check_scoremap(heatmap, f"the map of {name}")
    levels = to_levels(scores)
    boxes = iou = iou_any = iou_each = histogram = None
    if truth.boxes is not None:
        largest, every = largest_contours(levels), all_contours(levels)
        boxes = np.zeros((LEVELS, 4), np.int16)
        boxes[largest.first] = largest.boxes
        iou = pairwise_iou(boxes.astype(np.int64), truth.boxes).max(axis=1)
        iou_any, iou_each = best_iou(every, truth.boxes), matched_iou(every, truth.boxes)
    if truth.mask is not None:
        histogram = score_histogram(scores, truth.mask, THRESHOLDS).astype(np.int32)
    return Scores(
        levels,
        otsu_level(levels),
        _activation(scores),
        boxes,
        iou,
        iou_any,
        iou_each,
        histogram,
    )


def _activation(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    background = np.zeros(scores.shape, np.uint8)
    counts = score_histogram(scores, background, THRESHOLDS)[0]
    counts[-2] += counts[-1]  # the last bin of a histogram of [0, 1] holds 1 itself
    return counts[:-1] / scores.size
