"""MaxBoxAcc and its variants: the fraction of images whose object is localised well enough.

Source: Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right" (CVPR
2020), equations 3 and 4, and its released evaluation code. ``MaxBoxAccV3`` is defined in a
public fork of that code only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fcam_tf.metrics.accumulator import Accumulator, array_of, as_batch
from fcam_tf.metrics.measures import MEASURES, HeatMap, check_truth, grey_thresholds, threshold_grid
from fcam_tf.metrics.scoremap import Floats


class BoxCurve(NamedTuple):
    """One image's score at every 8-bit threshold: all that box metrics need to know about it."""

    iou: Floats  # (256, instances) IoU at each threshold; one column where the image counts as one
    peak: int  # the map's maximum, which relative thresholds refer to
    otsu: int  # Otsu's threshold of the map


@keras.saving.register_keras_serializable(package="fcam_tf")
class MaxBoxAcc(Accumulator):
    """Box accuracy at the best threshold, in percent (V1: IoU 0.5, largest contour).

    At a threshold tau an image counts as correct if the IoU of a predicted and a true box reaches
    delta. The result is the maximum over tau of the fraction of correct images, taken for each
    delta separately and averaged over the deltas. The threshold is chosen on the evaluated split;
    ``accuracy_at`` with another split's ``best_thresholds`` gives the figure without that oracle.

    Metrics run eagerly on the host. Memory does not grow with the number of images.

    Args:
        iou_thresholds: the deltas, in (0, 1].
        multiple: False: the box of the largest contour. True: the boxes of all contours.
        interval: step of the threshold grid 0, interval, ... below 1.
        name: name of the metric.

    Examples:
        >>> heatmap = np.zeros((20, 20))
        >>> heatmap[5:15, 5:15] = 1
        >>> metric = fcam_tf.metrics.MaxBoxAcc()
        >>> metric.update_state([heatmap, heatmap], [[[5, 5, 14, 14]], [[0, 0, 4, 4]]])
        >>> float(metric.result())
        50.0
    """

    def __init__(
        self,
        iou_thresholds: Sequence[float] = (0.5,),
        multiple: bool = False,
        interval: float = 0.001,
        name: str = "MaxBoxAcc",
    ) -> None:
        deltas = tuple(float(delta) for delta in iou_thresholds)
        if not deltas or not all(0 < delta <= 1 for delta in deltas):
            raise ValueError(f"`iou_thresholds` must be in (0, 1]. Received: {iou_thresholds}.")
        steps = threshold_grid(interval).size
        super().__init__(
            interval,
            name,
            hits=(3, len(deltas), steps),  # GT-known, Top-1, Top-5
            otsu_hits=(len(deltas),),
            iou=(steps,),
            total=(2,),  # instances, and those with a prediction
        )
        self.iou_thresholds = deltas
        self.multiple = multiple
        self._measure = MEASURES["MaxBoxAccV2" if multiple else "MaxBoxAcc"].of

    def update_state(
        self,
        heatmaps: Iterable[ArrayLike],
        boxes: Iterable[ArrayLike],
        labels: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        ids: Sequence[str] | None = None,
    ) -> None:
        """Adds a batch. If one image is refused, the whole batch is refused.

        Args:
            heatmaps: (B, H, W) floats in [0, 1], or a list of B maps of any sizes.
            boxes: for each image its (n, 4) true boxes in the map's frame (``resize_boxes``).
            labels: (B,) true classes; with ``logits`` for Top-1 and Top-5 localisation.
            logits: (B, classes) class scores; equal scores rank by class index.
            ids: names of the images for error messages.

        Raises:
            TypeError, ValueError: for a bad map, box, label or number of them, naming the image.
        """
        names, (heatmaps, boxes) = as_batch(ids, heatmaps=heatmaps, boxes=boxes)
        ranked = labels is not None or logits is not None
        ranks = class_rank(labels, logits, len(names)) if ranked else None
        curves = []
        for heatmap, truth, name in zip(heatmaps, boxes, names, strict=True):
            found = HeatMap(heatmap, f"heatmap of {name}")
            iou = self._measure(found, check_truth(truth, f"boxes of {name}"))
            curves.append(BoxCurve(iou, found.peak, found.otsu))
        self.update_curves(curves, ranks)

    def update_curves(self, curves: Iterable[BoxCurve], ranks: ArrayLike | None = None) -> None:
        """Adds images by stored curves, which must be computed as this metric computes them.

        Args:
            curves: one for each image.
            ranks: (B,) how many classes are predicted before the true one, for Top-1 and Top-5.
        """
        curves = list(curves)
        ranked = ranks is not None
        rank = np.asarray(ranks) if ranked else np.zeros(len(curves))
        among = np.stack([np.ones(len(curves)), ranked * (rank < 1), ranked * (rank < 5)], axis=1)

        deltas = np.array(self.iou_thresholds)[:, None, None]
        hits = np.zeros((3, len(deltas), self.thresholds.size))
        otsu_hits, iou = np.zeros(len(deltas)), np.zeros(self.thresholds.size)
        total = 0
        for curve, counts in zip(curves, among, strict=True):
            grey = grey_thresholds(curve.peak, self.thresholds)
            correct = (curve.iou >= deltas).sum(axis=2)
            hits += counts[:, None, None] * correct[:, grey]
            otsu_hits += correct[:, curve.otsu]
            iou += curve.iou.sum(axis=1)[grey]
            total += curve.iou.shape[1]
        self._add(hits=hits, otsu_hits=otsu_hits, iou=iou, total=[total, ranked * total])

    def result(self) -> float:
        """Percent: mean over the IoU thresholds of the best accuracy over the thresholds.

        Raises:
            RuntimeError: if no image was added.
        """
        return float(self.curves().max(axis=1).mean())

    def curves(self, top: int | None = None) -> Floats:
        """(IoU thresholds, thresholds) accuracy in percent at each of ``self.thresholds``.

        Args:
            top: None for GT-known; 1 or 5 to count only images whose true class is among the
                first 1 or 5 predicted.

        Raises:
            RuntimeError: if no image was added or, with ``top``, one without labels and logits.
        """
        kinds = [None, 1, 5]
        if top not in kinds:
            raise ValueError(f"`top` must be None, 1 or 5. Received: {top}.")
        sums = self._sums
        total, ranked = sums["total"]
        if not total:
            raise RuntimeError(f"{self.name} has no images. Call update_state before result.")
        if top is not None and ranked < total:
            raise RuntimeError(
                f"Top-{top} needs labels and logits of every image. Received: those of {ranked:g} "
                f"of {total:g}."
            )
        return 100 * sums["hits"][kinds.index(top)] / total

    def best_thresholds(self) -> Floats:
        """(IoU thresholds,) lowest threshold with the best accuracy, for each IoU threshold."""
        return self.thresholds[self.curves().argmax(axis=1)]

    def accuracy_at(self, thresholds: ArrayLike) -> Floats:
        """Accuracy at given thresholds, e.g. another split's ``best_thresholds()``.

        Args:
            thresholds: one in [0, 1), or one for each IoU threshold; the nearest of the grid
                is used.

        Returns:
            (IoU thresholds,) percent.
        """
        given = np.asarray(thresholds, dtype=np.float64)
        in_range = ((given >= 0) & (given < 1)).all()
        if given.shape not in {(), (len(self.iou_thresholds),)} or not in_range:
            raise ValueError(
                f"`thresholds` must be one value in [0, 1), or {len(self.iou_thresholds)} of them. "
                f"Received: {given}."
            )
        distance = np.abs(self.thresholds - given.reshape(-1, 1))
        nearest = np.broadcast_to(distance.argmin(axis=1), len(self.iou_thresholds))
        return self.curves()[np.arange(len(self.iou_thresholds)), nearest]

    def transferred(self, other: MaxBoxAcc) -> dict[str, Any]:
        """The figures at the best thresholds of another split's metric, ready for JSON."""
        thresholds = other.best_thresholds()
        accuracy = self.accuracy_at(thresholds)
        return {
            "thresholds": thresholds.tolist(),
            "accuracy": accuracy.tolist(),
            "mean": float(accuracy.mean()),
        }

    def details(self, *, curves: bool = False) -> dict[str, Any]:
        """Everything except the headline figure, ready for JSON; percent, lists by IoU threshold.

        ``otsu`` is the accuracy at each image's own Otsu threshold (no oracle), ``peak_iou``
        the highest mean best IoU over the thresholds; ``top1`` and ``top5`` are None unless
        labels and logits were given. Top-1 and Top-5 have their own best thresholds.

        Args:
            curves: add ``mean``, the result, and ``curves``, the accuracy at each threshold.
        """
        accuracy, sums = self.curves(), self._sums
        total, ranked = sums["total"]
        mean_iou = 100 * sums["iou"] / total
        tops = {f"top{k}": self.curves(k).max(axis=1).tolist() if ranked else None for k in (1, 5)}
        more = {"mean": self.result(), "curves": np.round(accuracy, 6).tolist()} if curves else {}
        return {
            "iou_thresholds": list(self.iou_thresholds),
            "accuracy": accuracy.max(axis=1).tolist(),
            "best_thresholds": self.best_thresholds().tolist(),
            **tops,
            "otsu": (100 * sums["otsu_hits"] / total).tolist(),
            "peak_iou": float(mean_iou.max()),
            "peak_threshold": float(self.thresholds[mean_iou.argmax()]),
            "count": int(total),
            **more,
        }

    def get_config(self) -> dict[str, Any]:
        """Arguments to rebuild the metric."""
        config = {"iou_thresholds": self.iou_thresholds, "multiple": self.multiple}
        return config | super().get_config()


@keras.saving.register_keras_serializable(package="fcam_tf")
class MaxBoxAccV2(MaxBoxAcc):
    """MaxBoxAcc over the boxes of all contours, mean over IoU 0.3, 0.5 and 0.7, in percent.

    Args:
        interval: step of the threshold grid 0, interval, ... below 1.
        name: name of the metric.

    Examples:
        >>> heatmap = np.zeros((20, 20))
        >>> heatmap[5:15, 5:15] = 1
        >>> metric = fcam_tf.metrics.MaxBoxAccV2()
        >>> metric.update_state([heatmap], [[[5, 5, 14, 11]]])  # IoU 0.58, not 0.7
        >>> round(float(metric.result()), 1)
        66.7
    """

    def __init__(self, interval: float = 0.001, name: str = "MaxBoxAccV2") -> None:
        super().__init__((0.3, 0.5, 0.7), multiple=True, interval=interval, name=name)

    def get_config(self) -> dict[str, Any]:
        """Arguments to rebuild the metric."""
        return Accumulator.get_config(self)


@keras.saving.register_keras_serializable(package="fcam_tf")
class MaxBoxAccV3(MaxBoxAccV2):
    """Recall over true boxes with one-to-one matching, mean over IoU 0.3, 0.5, 0.7, in percent.

    At each threshold the boxes of all contours are matched to the true boxes greedily by IoU. Hits
    are counted for each true box and divided by the number of true boxes of the split, so merging
    neighbours costs accuracy, unlike in V2.

    Args:
        interval: step of the threshold grid 0, interval, ... below 1.
        name: name of the metric.

    Examples:
        >>> heatmap = np.zeros((20, 20))
        >>> heatmap[5:15, 5:15] = 1
        >>> metric = fcam_tf.metrics.MaxBoxAccV3()
        >>> metric.update_state([heatmap], [[[5, 5, 14, 14], [0, 0, 3, 3]]])  # one of two
        >>> float(metric.result())
        50.0
    """

    def __init__(self, interval: float = 0.001, name: str = "MaxBoxAccV3") -> None:
        super().__init__(interval, name=name)
        self._measure = MEASURES["MaxBoxAccV3"].of


def class_rank(labels: ArrayLike | None, logits: ArrayLike | None, count: int) -> NDArray[np.int64]:
    """(B,) how many classes are predicted before the true one; equal scores rank by class index.

    Raises ValueError unless labels are (B,) classes and logits (B, classes) finite scores.
    """
    if labels is None or logits is None:
        raise ValueError("`labels` and `logits` go together: give both or neither.")
    labels = np.asarray(array_of(labels), None if count else np.int64)
    logits = np.asarray(array_of(logits))
    if labels.shape != (count,) or logits.ndim != 2 or len(logits) != count:
        raise ValueError(
            f"`labels` must have shape ({count},) and `logits` ({count}, classes). "
            f"Received: {labels.shape} and {logits.shape}."
        )
    if labels.dtype.kind not in "iu" or not ((labels >= 0) & (labels < logits.shape[1])).all():
        raise ValueError(
            f"`labels` must be integers in [0, {logits.shape[1]}). Received: {labels}."
        )
    if not np.isfinite(logits).all():
        raise ValueError("`logits` contains NaN or infinity.")
    order = np.argsort(-logits.astype(np.float64), axis=1, kind="stable")
    return (order == labels[:, None]).argmax(axis=1)
