"""PxAP: average precision of a heat map's pixels against masks, pooled over a split.

Source: Choe et al. (CVPR 2020), equation 5 and the released evaluation code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fcam_tf.grey_levels import otsu
from fcam_tf.masks import OBJECT, check_mask
from fcam_tf.metrics.accumulator import Accumulator, as_batch
from fcam_tf.metrics.measures import (
    average_precision,
    mask_iou,
    precision_recall,
    score_histogram,
    threshold_grid,
)
from fcam_tf.metrics.scoremap import Floats, check_scoremap


@keras.saving.register_keras_serializable(package="fcam_tf")
class PxAP(Accumulator):
    """Pixel average precision in percent.

    The pixels of all images enter one histogram of object scores and one of background scores. From
    the highest bin down, precision is weighted with the gain in recall, without interpolation.
    Metrics run eagerly on the host; memory does not grow with the images.

    Args:
        interval: width of the histogram's bins.
        name: name of the metric.

    Examples:
        >>> mask = np.array([[0, 0, 1, 1]])
        >>> metric = fcam_tf.metrics.PxAP()
        >>> metric.update_state([np.array([[0.1, 0.6, 0.5, 0.9]])], [mask])
        >>> round(float(metric.result()), 1)  # (1 / 1 + 2 / 3) / 2
        83.3
    """

    def __init__(self, interval: float = 0.001, name: str = "PxAP") -> None:
        bins = threshold_grid(interval).size + 1  # a score of exactly 1 has a bin of its own
        super().__init__(interval, name, pixels=(2, bins), iou=(bins,), otsu_iou=(), images=())

    def update_state(
        self,
        heatmaps: Iterable[ArrayLike],
        masks: Iterable[ArrayLike],
        ids: Sequence[str] | None = None,
    ) -> None:
        """Adds a batch. If one image is refused, the whole batch is refused.

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
        """Adds images by their stored ``score_histogram``."""
        for histogram in histograms:
            self._add(pixels=histogram)
            if histogram[OBJECT].any():  # IoU means nothing without an object
                iou = mask_iou(histogram)
                otsu_iou = np.append(iou, 0)[1 + otsu(histogram.sum(axis=0))]
                self._add(iou=iou, otsu_iou=otsu_iou, images=1)

    def result(self) -> float:
        """Percent.

        Raises:
            RuntimeError: if no pixel was added, or no object pixel.
        """
        return average_precision(*self.curve())

    def curve(self) -> tuple[Floats, Floats]:
        """Precision and recall in [0, 1] from the highest threshold down, without empty bins."""
        pixels = self._sums["pixels"]
        if not pixels.any():
            raise RuntimeError(f"{self.name} has no pixels. Call update_state before result.")
        if not pixels[OBJECT].any():
            raise RuntimeError(
                f"{self.name} has no object pixel in the whole split. Are the masks 1 on objects?"
            )
        return precision_recall(pixels)

    def iou_at(self, threshold: float) -> float:
        """Mean IoU in percent of {score >= threshold} with the object, at a given threshold.

        Args:
            threshold: in [0, 1], e.g. another split's; the nearest of the grid is used.
        """
        self.curve()  # raises without pixels of objects
        sums = self._sums
        nearest = np.abs(np.append(self.thresholds, 1.0) - threshold).argmin()
        return float(100 * sums["iou"][nearest] / sums["images"])

    def transferred(self, other: PxAP) -> dict[str, Any]:
        """The mean IoU at the best threshold of another split's metric, ready for JSON."""
        threshold = other.details()["peak_threshold"]
        return {"threshold": threshold, "iou": self.iou_at(threshold)}

    def details(self, *, curves: bool = False) -> dict[str, Any]:
        """Companion figures in percent, ready for JSON.

        IoU is between mask and thresholded map, ``score >= threshold``, averaged over the images
        that have an object pixel: ``peak_iou`` at the best common threshold (Peak-IoU, Pan et
        al., CVPR 2021), ``otsu_iou`` above the Otsu threshold of the image's own histogram.

        Args:
            curves: add ``precision`` and ``recall``, see ``curve``.
        """
        precision, recall = (np.round(values, 6).tolist() for values in self.curve())
        sums = self._sums
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
            **({"precision": precision, "recall": recall} if curves else {}),
        }
