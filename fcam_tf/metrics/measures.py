"""One heat map's scores at every threshold: all that a metric keeps of an image, in NumPy."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fcam_tf.grey_levels import LEVELS, otsu, to_levels
from fcam_tf.masks import IGNORED, OBJECT
from fcam_tf.metrics.boxes import check_boxes, pairwise_iou
from fcam_tf.metrics.contours import Contours, all_contours, best_per_threshold, largest_contours
from fcam_tf.metrics.scoremap import Floats, check_scoremap

CHUNK = 32768  # pixels at a time: temporaries stay in the processor's cache


class HeatMap:
    """A heat map with properties that several metrics need, each computed once.

    Attributes:
        scores: (H, W) float64 in [0, 1].
        levels: (H, W) uint8, in the 256 levels that box metrics threshold.
        peak: the highest of these.
        otsu: Otsu's threshold of these; a flat map has no foreground.
        largest: the contour of the largest area at every threshold.
        every: all contours at every threshold.
    """

    def __init__(self, heatmap: ArrayLike, name: str = "heatmap") -> None:
        self.scores = check_scoremap(heatmap, name)
        self.levels = to_levels(self.scores)
        self.peak = int(self.levels.max())
        self.otsu = otsu(np.bincount(self.levels.ravel()))

    @cached_property
    def largest(self) -> Contours:
        return largest_contours(self.levels)

    @cached_property
    def every(self) -> Contours:
        return all_contours(self.levels)


class Measure(NamedTuple):
    """How a metric measures an image."""

    truth: Literal["boxes", "mask"]  # of the image, which a map is compared with
    # (HeatMap, truth) -> what is kept: (256, n) IoU at every 8-bit threshold, a column for each
    # counted box; or for masks the (2, bins) ``score_histogram``.
    of: Callable[[HeatMap, Any], NDArray]
    meaning: str  # of the metric's figure, in a few words; empty where it is a detail of a report


def threshold_grid(interval: float = 0.001) -> Floats:
    """The relative thresholds 0, interval, 2 * interval, ... below 1.

    Raises:
        ValueError: if ``interval`` is not in (0, 1].
    """
    if not 0 < interval <= 1:
        raise ValueError(
            f"`interval` must be in (0, 1]. Received: {interval}. The benchmark uses 0.001."
        )
    return np.arange(0, 1, interval)


THRESHOLDS = threshold_grid()


def grey_thresholds(peak: int, thresholds: ArrayLike) -> NDArray[np.int64]:
    """The 8-bit thresholds that correspond to relative ones in a map with this maximum."""
    return (np.asarray(thresholds) * float(peak)).astype(np.int64)


def best_iou(found: Contours, truth: NDArray) -> Floats:
    """(256, 1) best IoU of any predicted box with any true box at every 8-bit threshold."""
    values = pairwise_iou(found.boxes, truth).max(axis=1)
    nothing = pairwise_iou(np.zeros((1, 4), np.int64), truth).max()
    curve = best_per_threshold(values, found.first, found.stop, default=-1)
    return np.where(curve < 0, nothing, curve)[:, None]


def matched_iou(found: Contours, truth: NDArray) -> Floats:
    """(256, n) IoU of each true box with its partner after one-to-one matching.

    Greedy: the pair with the largest IoU is matched and both leave, until no true or no
    predicted box is left; a true box without a partner has 0.
    """
    if len(truth) == 1:  # it gets the best box there is
        return best_iou(found, truth)
    ious = pairwise_iou(found.boxes, truth)
    nothing = pairwise_iou(np.zeros((1, 4), np.int64), truth)
    curve = np.empty((LEVELS, len(truth)))
    for threshold in range(LEVELS):
        present = ious[(found.first <= threshold) & (threshold < found.stop)]
        curve[threshold] = _match(present if len(present) else nothing)
    return curve


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


def check_truth(boxes: ArrayLike, name: str = "`boxes`") -> NDArray:
    """``check_boxes``, and there must be at least one."""
    array = np.asarray(boxes)
    if array.size == 0:
        raise ValueError(f"{name} is empty. Leave out images without a ground-truth box.")
    return check_boxes(array, name)


def score_histogram(scores: Floats, truth: NDArray, thresholds: Floats) -> NDArray[np.int64]:
    """(2, bins) background and object pixels whose score lies in each of the bins.

    Scores are (H, W) in [0, 1], ``truth`` is the mask, 255 ignored, thresholds the grid 0, d, ...
    The same counts as ``numpy.histogram`` with edges thresholds + [1, 2]: a score equal to an
    edge belongs to the bin on its right. The grid is even, so the bin is computed; where rounding
    may have put a score on the wrong side of an edge, it is compared with the edge itself.
    """
    edges = np.append(thresholds, [1.0, 2.0])
    bins = thresholds.size + 1
    scores, truth = scores.ravel(), truth.ravel()
    counts = np.zeros(3 * bins, np.int64)
    hidden = bool((truth == IGNORED).any())
    for start in range(0, scores.size, CHUNK):
        score, kind = scores[start : start + CHUNK], truth[start : start + CHUNK]
        position = score * (1 / edges[1])
        place = position.astype(np.int32)
        position -= np.rint(position)
        to_edge = np.abs(position, out=position)
        beside = np.flatnonzero((to_edge < 1e-6) | (score == 1))
        if beside.size:
            near, value = place[beside], score[beside]
            place[beside] = near + (value >= edges[near + 1]) - (value < edges[near])
        place += (kind == OBJECT) * np.int32(bins)
        if hidden:
            place += (kind == IGNORED) * np.int32(2 * bins)
        counts += np.bincount(place, minlength=3 * bins)
    return counts.reshape(3, bins)[:2]


def precision_recall(histogram: NDArray) -> tuple[Floats, Floats]:
    """Precision and recall in [0, 1] from the highest bin down, without empty bins."""
    false, true = np.cumsum(histogram[:, ::-1], axis=1)
    seen = true + false > 0
    return true[seen] / (true + false)[seen], true[seen] / true[-1]


def average_precision(precision: Floats, recall: Floats) -> float:
    """Percent: precision weighted with the gain in recall, from the highest bin down."""
    return float(100 * np.sum(precision * np.diff(recall, prepend=0)))


def mask_iou(histogram: NDArray[np.int64]) -> Floats:
    """(bins,) IoU of {score >= left edge of the bin} with the object."""
    false, true = np.cumsum(histogram[:, ::-1], axis=1)
    return (true / (true[-1] + false))[::-1]


# The benchmark's metrics: an evaluation keeps, counts and reports what stands here. Each is a class
# of this name in `fcam_tf.metrics`.
MEASURES = {
    "MaxBoxAcc": Measure(
        "boxes",
        lambda heatmap, boxes: best_iou(heatmap.largest, boxes),
        "images localised at IoU ≥ 0.5, largest contour",
    ),
    "MaxBoxAccV2": Measure(
        "boxes",
        lambda heatmap, boxes: best_iou(heatmap.every, boxes),
        "mean over IoU 0.3, 0.5, 0.7, all contours",
    ),
    "MaxBoxAccV3": Measure("boxes", lambda heatmap, boxes: matched_iou(heatmap.every, boxes), ""),
    "PxAP": Measure(
        "mask",
        lambda heatmap, mask: score_histogram(heatmap.scores, mask, THRESHOLDS).astype(np.int32),
        "average precision of pixels",
    ),
}
