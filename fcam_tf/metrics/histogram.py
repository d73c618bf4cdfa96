"""Histograms of the scores of an image's pixels, and what follows from them; without Keras."""

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from fcam_tf.metrics.masks import IGNORED, OBJECT
from fcam_tf.metrics.scoremap import Floats

CHUNK = 16384  # pixels at a time: temporaries stay in the processor's cache


def score_histogram(scores: Floats, truth: NDArray, thresholds: Floats) -> NDArray[np.int64]:
    """(2, bins) background and object pixels whose score lies in each of the bins.

    The same counts as ``numpy.histogram`` with edges thresholds + [1, 2]: a score equal to an
    edge belongs to the bin on its right. The grid is even, so the bin is computed; where rounding
    may have put a score on the wrong side of an edge, it is compared with the edge itself.

    Args:
        scores: (H, W) in [0, 1].
        truth: (H, W) 0, 1 or 255.
        thresholds: (T,) the grid 0, d, 2d, ...
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
        to_edge = np.abs(position - np.rint(position))
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
    """Precision and recall in [0, 1] from the highest bin down, bins without a pixel left out.

    Args:
        histogram: (2, bins) background and object pixels; there must be object pixels.
    """
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


def above_otsu(counts: NDArray[np.int64]) -> int:
    """The first bin above Otsu's threshold; of a flat map, which has no foreground, the last."""
    used = np.flatnonzero(counts)
    low, high = int(used[0]), int(used[-1])
    if low == high:
        return counts.size - 1
    return 1 + int(threshold_otsu(hist=(counts[low : high + 1], np.arange(low, high + 1))))
