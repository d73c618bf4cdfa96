"""From the images' results to metrics and to a table with one row for each image."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from fcam_tf import metrics
from fcam_tf.data.split import Split
from fcam_tf.evaluation.measured import CURVES, EXPLANATION
from fcam_tf.evaluation.rows import Row, make_row
from fcam_tf.evaluation.scores import Scored, measures_of
from fcam_tf.evaluation.stored import TOP
from fcam_tf.metrics.max_box_acc import BoxCurve
from fcam_tf.metrics.measures import MEASURES, THRESHOLDS

BATCH = 64


class Summary:
    """The metrics of a split.

    Args:
        scored: its images' results, in order.
        split: the images and their ground truth.

    Attributes:
        counted: the metrics by name, those of ``metrics.MEASURES`` that the split has ground truth
            for.

    Raises:
        RuntimeError: if the masks of the whole split hold no object.
    """

    def __init__(self, scored: Iterable[Scored], split: Split) -> None:
        self._split = split
        self.counted = {name: getattr(metrics, name)() for name in measures_of(split)}
        self.images = 0
        self._ranks: list[int] = []
        self._activation = np.zeros(THRESHOLDS.size)
        self._explanations: list[dict[str, Any]] = []
        scored = iter(scored)
        while batch := list(itertools.islice(scored, BATCH)):  # a metric's update has its price
            self._add(batch)
        for metric in self.counted.values():
            metric.result()

    def _add(self, batch: Sequence[Scored]) -> None:
        ranks = [item.rank for item in batch]
        for name, metric in self.counted.items():
            kept = [item.kept[name] for item in batch]
            if MEASURES[name].truth == "boxes":
                metric.update_curves(
                    [
                        BoxCurve(iou, int(item.levels.max()), item.otsu)
                        for iou, item in zip(kept, batch, strict=True)
                    ],
                    None if min(ranks) < 0 else ranks,
                )
            else:
                metric.update_histograms(kept)
        self._activation += np.sum([item.activation for item in batch], axis=0)
        self._ranks += ranks
        self._explanations += [item.explanation for item in batch if item.explanation]
        self.images += len(batch)

    def metrics(self, other: Summary | None = None, other_split: str = "") -> dict[str, Any]:
        """All figures in percent, ready for JSON.

        Args:
            other: of the split whose thresholds are to be used here, too.
            other_split: its name.

        Returns:
            What `HEADLINES` names, each None if it is unknown; what `EXPLANATION` names, if that
            was measured; and details.
        """
        ranks = np.array(self._ranks)
        known = bool((ranks >= 0).all())
        details: dict[str, Any] = {
            "images": self.images,
            "top5_accuracy": 100 * float((ranks < TOP).mean()) if known else None,
            "thresholds": np.round(THRESHOLDS, 6).tolist(),
            "activation": np.round(self._activation / self.images, 9).tolist(),
        }
        for name, metric in self.counted.items():
            details[name] = metric.details(curves=True)
            if other is not None:
                moved = metric.transferred(other.counted[name])
                details[name]["transferred"] = {"split": other_split, **moved}
        explained = self._explanations
        if explained:
            curves = {name: np.mean([each[name] for each in explained], axis=0) for name in CURVES}
            details["explanation"] = {
                name: np.round(100 * curve, 6).tolist() for name, curve in curves.items()
            }
        figures = {
            name: self.counted[name].result() if name in self.counted else None
            for name, measure in MEASURES.items()
            if measure.meaning
        }
        tops = details.get("MaxBoxAcc", {"top1": None, "top5": None})
        return figures | {
            "Top1Loc": tops["top1"] and tops["top1"][0],
            "Top5Loc": tops["top5"] and tops["top5"][0],
            "accuracy": 100 * float((ranks == 0).mean()) if known else None,
            **{
                name: 100 * float(np.mean([each[figure.column] for each in explained]))
                for name, figure in (EXPLANATION if explained else {}).items()
            },
            "details": details,
        }

    def rows(self, scored: Iterable[Scored]) -> Iterator[Row]:
        """Yields each image's row, at the best thresholds for MaxBoxAcc and the mean mask IoU."""
        boxes, pixels = self.counted.get("MaxBoxAcc"), self.counted.get("PxAP")
        box_threshold = None if boxes is None else float(boxes.best_thresholds()[0])
        mask_threshold = None if pixels is None else pixels.details()["peak_threshold"]
        for item in scored:
            yield make_row(item, self._split, box_threshold, mask_threshold)
