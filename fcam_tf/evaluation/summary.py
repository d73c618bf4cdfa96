"""From the images' results to metrics and to a table with one row for each image."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcam_tf.data.split import Split
from fcam_tf.evaluation.parts import Scored
from fcam_tf.evaluation.rows import TOP, Row, make_row
from fcam_tf.evaluation.scores import THRESHOLDS
from fcam_tf.metrics import MaxBoxAcc, MaxBoxAccV2, MaxBoxAccV3, PxAP
from fcam_tf.metrics.component_tree import LEVELS
from fcam_tf.metrics.curves import BoxCurve

BATCH = 64


class Summary:
    """The metrics of a split.

    Args:
        scored: its images' results, in order.
        split: the images and their truth.

    Attributes:
        boxes: MaxBoxAcc, MaxBoxAccV2 and MaxBoxAccV3 by name; empty without true boxes.
        pixels: PxAP, or None without masks.

    Raises:
        RuntimeError: if the masks of the whole split hold no object.
    """

    def __init__(self, scored: Iterable[Scored], split: Split) -> None:
        self._split = split
        fields = {"iou": MaxBoxAcc(), "iou_any": MaxBoxAccV2(), "iou_each": MaxBoxAccV3()}
        self.boxes = {} if split.boxes is None else {m.name: m for m in fields.values()}
        self.pixels = None if split.masks is None else PxAP()
        self.images = 0
        self._ranks: list[int] = []
        self._activation = np.zeros(THRESHOLDS.size)
        scored = iter(scored)
        while batch := list(itertools.islice(scored, BATCH)):  # a metric's update has its price
            self._add(batch, fields)
        if self.pixels is not None:
            self.pixels.result()

    def _add(self, batch: Sequence[Scored], fields: Mapping[str, MaxBoxAcc]) -> None:
        ranks = [item.rank for item in batch]
        scores = [item.scores for item in batch]
        if self.boxes:
            for field, metric in fields.items():
                curves = [
                    BoxCurve(getattr(s, field).reshape(LEVELS, -1), int(s.levels.max()), s.otsu)
                    for s in scores
                ]
                metric.update_curves(curves, None if min(ranks) < 0 else ranks)
        if self.pixels is not None:
            self.pixels.update_histograms([s.histogram for s in scores])
        self._activation += sum(s.activation for s in scores)
        self._ranks += ranks
        self.images += len(batch)

    @property
    def box_threshold(self) -> float:
        """The threshold at which rows and pictures show boxes: MaxBoxAcc's own."""
        return float(self.boxes["MaxBoxAcc"].best_thresholds()[0])

    @property
    def mask_threshold(self) -> float:
        """The threshold at which rows and pictures show masks: that of the highest mean IoU."""
        return self.pixels.details()["peak_threshold"]

    def metrics(self, other: Summary | None = None, other_split: str = "") -> dict[str, Any]:
        """All figures in percent, ready for JSON.

        Args:
            other: of the split whose thresholds are to be used here, too.
            other_split: its name.

        Returns:
            MaxBoxAcc, MaxBoxAccV2, PxAP, Top1Loc, Top5Loc and accuracy, each None where it cannot
            be said; and details.
        """
        ranks = np.array(self._ranks)
        known = bool((ranks >= 0).all())
        details: dict[str, Any] = {
            "images": self.images,
            "top5_accuracy": 100 * float((ranks < TOP).mean()) if known else None,
            "thresholds": _round(THRESHOLDS),
            "activation": _round(self._activation / self.images, 9),
        }
        for name, metric in self.boxes.items():
            details[name] = metric.details() | {
                "mean": metric.result(),
                "curves": _round(metric.curves()),
            }
            if other is not None:
                thresholds = other.boxes[name].best_thresholds()
                accuracy = metric.accuracy_at(thresholds)
                details[name]["transferred"] = {
                    "split": other_split,
                    "thresholds": thresholds.tolist(),
                    "accuracy": accuracy.tolist(),
                    "mean": float(accuracy.mean()),
                }
        if self.pixels is not None:
            precision, recall = self.pixels.curve()
            details["PxAP"] = self.pixels.details() | {
                "precision": _round(precision),
                "recall": _round(recall),
            }
            if other is not None:
                details["PxAP"]["transferred"] = {
                    "split": other_split,
                    "threshold": other.mask_threshold,
                    "iou": self.pixels.iou_at(other.mask_threshold),
                }
        tops = details.get("MaxBoxAcc", {"top1": None, "top5": None})
        return {
            "MaxBoxAcc": details["MaxBoxAcc"]["mean"] if self.boxes else None,
            "MaxBoxAccV2": details["MaxBoxAccV2"]["mean"] if self.boxes else None,
            "PxAP": None if self.pixels is None else self.pixels.result(),
            "Top1Loc": tops["top1"] and tops["top1"][0],
            "Top5Loc": tops["top5"] and tops["top5"][0],
            "accuracy": 100 * float((ranks == 0).mean()) if known else None,
            "details": details,
        }

    def rows(self, scored: Iterable[Scored]) -> Iterator[Row]:
        """Yields one row for each image, at the thresholds of this summary."""
        box_threshold = self.box_threshold if self.boxes else None
        mask_threshold = self.mask_threshold if self.pixels is not None else None
        for item in scored:
            yield make_row(item, self._split, box_threshold, mask_threshold)


def _round(values: NDArray, digits: int = 6) -> list:
    return np.round(values, digits).tolist()
