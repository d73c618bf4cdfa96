"""How sure a difference is: the paired bootstrap over the images of the test split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcam_tf.evaluation import StoredEvaluation
from fcam_tf.masks import OBJECT
from fcam_tf.metrics.measures import (
    MEASURES,
    average_precision,
    grey_thresholds,
    precision_recall,
)

DRAWS = 2000
_BLOCK = 100  # draws whose histograms are added up at once

# (draws, n) how often each image counts -> (draws,) percent
Statistic = Callable[[NDArray], NDArray]


class Interval(NamedTuple):
    """A difference and its 95 % interval, in points of percent."""

    difference: float
    low: float
    high: float


def paired(
    pairs: Sequence[tuple[Statistic, Statistic]], images: int, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Return the mean difference of pairs of statistics, the second minus the first.

    Images are drawn with replacement, the same for all statistics; the interval goes from the 2.5th
    to the 97.5th percentile of the draws (Efron and Tibshirani, 1993, chapter 13). Draws of which a
    statistic is NaN do not count.

    Args:
        pairs: of each training, such as of each seed, or their means.
        images: number of images.
        draws: of as many images each.
        seed: of the draws.
    """

    def difference(counts: NDArray) -> NDArray:
        return np.mean([after(counts) - before(counts) for before, after in pairs], axis=0)

    rng = np.random.default_rng(seed)
    drawn = difference(rng.multinomial(images, np.full(images, 1 / images), size=draws))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Interval(float(difference(np.ones((1, images)))[0]), float(low), float(high))


def mean_of(values: NDArray) -> Statistic:
    """Return the statistic of a metric that is a mean over images, (n,) percent."""
    return lambda counts: counts @ values / values.size


def mean_over(statistics: Sequence[Statistic]) -> Statistic:
    """Return the mean of statistics, such as of those of all seeds."""
    return lambda counts: np.mean([each(counts) for each in statistics], axis=0)


def precision_of(histograms: NDArray) -> Statistic:
    """Return the statistic of PxAP, of the images' ``score_histogram`` (n, 2, bins).

    It is NaN where none of the images drawn has an object.
    """
    flat = histograms.reshape(len(histograms), -1).astype(np.float64)

    def statistic(counts: NDArray) -> NDArray:
        found = []
        for start in range(0, len(counts), _BLOCK):
            pooled = (counts[start : start + _BLOCK] @ flat).reshape(-1, *histograms.shape[1:])
            found += [
                average_precision(*precision_recall(each)) if each[OBJECT].any() else np.nan
                for each in pooled
            ]
        return np.array(found)

    return statistic


def statistic_of(run: StoredEvaluation, metric: str) -> Statistic:
    """Return a metric of an evaluation as a function of how often each image counts.

    Of a box metric, an image is right or wrong at the thresholds that were the best for all.
    """
    if MEASURES[metric].truth == "mask":
        return precision_of(np.stack([item.kept[metric] for item in run.parts]))
    details = run.metrics["details"][metric]
    deltas, best = np.array(details["iou_thresholds"]), details["best_thresholds"]
    right = [
        item.kept[metric][grey_thresholds(int(item.levels.max()), best), 0] >= deltas
        for item in run.parts
    ]
    return mean_of(100 * np.mean(right, axis=1))
