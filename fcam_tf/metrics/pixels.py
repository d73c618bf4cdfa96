"""PxAP: average precision of a heat map's pixels against masks, pooled over a split.

Source: Choe et al. (CVPR 2020), equation 5 and the released evaluation code.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.filters import threshold_otsu

from fcam_tf.metrics.accumulator import Accumulator, as_batch
from fcam_tf.metrics.curves import threshold_grid
from fcam_tf.metrics.masks import IGNORED, OBJECT, check_mask
from fcam_tf.metrics.scoremap import Floats, check_scoremap

CHUNK = 16384  # pixels at a time: temporaries stay in the processor's cache


@keras.saving.register_keras_serializable(package="fcam_tf")
class PxAP(Accumulator):
    """Pixel average precision in percent.

    Pixels of all images enter one histogram of object scores and one of background scores.
    From the highest bin down, precision is weighted with the gain in recall, without
    interpolation. Metrics run eagerly on the host; memory does not grow with the images.

    Args:
        interval: width of the histogram's bins.
        name: name of the metric.
    """

    def __init__(self, interval: float = 0.001, name: str = "PxAP") -> None:
        thresholds = threshold_grid(interval)
        bins = thresholds.size + 1  # a score of exactly 1 has a bin of its own
        super().__init__(name, pixels=(2, bins), iou=(bins,), otsu_iou=(), images=())
        self.interval = interval
        self.thresholds = thresholds

    def update_state(
        self,
        heatmaps: Iterable[ArrayLike],
        masks: Iterable[ArrayLike],
        ids: Sequence[str] | None = None,
    ) -> None:
        """Adds a batch. If an image is refused, the whole batch is.

        Args:
            heatmaps: (B, H, W) floats in [0, 1], or a list of B maps of any sizes.
            masks: for each image an (H, W) integer mask: 1 object, 0 background, 255 ignored
                (``join_masks``).
            ids: names of the images for error messages.

        Raises:
            TypeError, ValueError: for a bad map, mask or number of them, naming the image.
        """
        names, (heatmaps, masks) = as_batch(ids, heatmaps=heatmaps, masks=masks)
        histograms = []
        for heatmap, mask, name in zip(heatmaps, masks, names, strict=True):
            scores = check_scoremap(heatmap, f"heatmap of {name}")
            truth = check_mask(mask, scores.shape, f"mask of {name}")
            histograms.append(score_histogram(scores, truth, self.thresholds))
        self.update_histograms(histograms)

    def update_histograms(self, histograms: Iterable[NDArray[np.int64]]) -> None:
        """Adds images by their ``score_histogram``, for whoever keeps those."""
        pixels = np.zeros((2, self.thresholds.size + 1))
        iou = np.zeros(self.thresholds.size + 1)
        otsu_iou, images = 0.0, 0
        for histogram in histograms:
            pixels += histogram
            if histogram[OBJECT].any():  # IoU means nothing without an object
                curve = mask_iou(histogram)
                iou += curve
                otsu_iou += curve[_above_otsu(histogram.sum(axis=0))]
                images += 1
        self._add(pixels=pixels, iou=iou, otsu_iou=otsu_iou, images=images)

    def result(self) -> float:
        """Percent.

        Raises:
            RuntimeError: if no pixel was added, or none of an object.
        """
        return average_precision(*self.curve())

    def curve(self) -> tuple[Floats, Floats]:
        """Precision and recall in [0, 1] from the highest threshold down, empty bins left out."""
        pixels = self._read()["pixels"]
        if not pixels.any():
            raise RuntimeError(f"{self.name} has no pixels; call update_state before result")
        if not pixels[OBJECT].any():
            raise RuntimeError(
                f"{self.name} has no object pixel in the whole split; are the masks 1 on objects?"
            )
        return precision_recall(pixels)

    def iou_at(self, threshold: float) -> float:
        """Mean IoU in percent of {score >= threshold} with the object, e.g. at another split's.

        Args:
            threshold: in [0, 1]; the nearest of the grid is used.
        """
        self.curve()  # raises where there is nothing to say
        sums = self._read()
        nearest = np.abs(np.append(self.thresholds, 1.0) - threshold).argmin()
        return float(100 * sums["iou"][nearest] / sums["images"])

    def details(self) -> dict[str, Any]:
        """Companions in percent, ready for JSON.

        IoU is between mask and thresholded map, ``score >= threshold``, averaged over the images
        that have an object pixel: ``peak_iou`` at the best common threshold (Peak-IoU, Pan et
        al., CVPR 2021), ``otsu_iou`` above the Otsu threshold of the image's own histogram.
        """
        self.curve()  # raises where there is nothing to say
        sums = self._read()
        images = float(sums["images"])
        mean_iou = 100 * sums["iou"] / images
        edges = np.append(self.thresholds, 1.0)
        background, objects = sums["pixels"].sum(axis=1)
        return {
            "peak_iou": float(mean_iou.max()),
            "peak_threshold": float(edges[mean_iou.argmax()]),
            "otsu_iou": float(100 * sums["otsu_iou"] / images),
            "object_pixels": int(objects),
            "background_pixels": int(background),
            "images": int(images),
        }

    def get_config(self) -> dict[str, Any]:
        """Arguments to rebuild the metric."""
        return {"interval": self.interval, "name": self.name}


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


def _above_otsu(counts: NDArray[np.int64]) -> int:
    """The first bin above Otsu's threshold; of a flat map, which has no foreground, the last."""
    used = np.flatnonzero(counts)
    low, high = int(used[0]), int(used[-1])
    if low == high:
        return counts.size - 1
    return 1 + int(threshold_otsu(hist=(counts[low : high + 1], np.arange(low, high + 1))))
