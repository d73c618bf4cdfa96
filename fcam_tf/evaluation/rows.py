"""One row for each image: what results.csv holds and galleries are chosen by."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from fcam_tf.data.split import Split
from fcam_tf.evaluation.failures import kind_of_boxes, kind_of_pixels
from fcam_tf.evaluation.scores import Scored, read_boxes
from fcam_tf.evaluation.sources import FRAME
from fcam_tf.masks import OBJECT
from fcam_tf.metrics.measures import (
    THRESHOLDS,
    average_precision,
    grey_thresholds,
    mask_iou,
    precision_recall,
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One image in results.csv; what does not apply is None.

    Attributes:
        id: of the image.
        label: true class.
        predicted: class with the highest score.
        confidence: its softmax probability.
        rank: how many classes are predicted before the true one.
        iou: of the largest contour's box at MaxBoxAcc's threshold, in [0, 1].
        best_iou: of the largest contour's box at the image's own best threshold.
        otsu_iou: of the largest contour's box at Otsu's threshold.
        x0: left side of the box at MaxBoxAcc's threshold, in the 224 x 224 frame, inclusive.
        y0: upper side.
        x1: right side.
        y1: lower side.
        mask_iou: of {map >= the split's best threshold} with the mask.
        pixel_ap: average precision of this image's pixels alone, percent.
        kind: see ``failures``.
    """

    id: str
    label: int
    predicted: int | None
    confidence: float | None
    rank: int | None
    iou: float | None
    best_iou: float | None
    otsu_iou: float | None
    x0: int | None
    y0: int | None
    x1: int | None
    y1: int | None
    mask_iou: float | None
    pixel_ap: float | None
    kind: str

    @property
    def quality(self) -> float:
        """What images are ranked by: the IoU of the box or, without boxes, of the mask."""
        return self.iou if self.iou is not None else self.mask_iou or 0.0

    @classmethod
    def parse(cls, texts: Mapping[str, str]) -> Row:
        """The row that a line of results.csv holds."""
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            text = texts[field.name]
            kind = str if field.type == "str" else int if "int" in field.type else float
            values[field.name] = None if text == "" and kind is not str else kind(text)
        return cls(**values)


def make_row(
    item: Scored, split: Split, box_threshold: float | None, mask_threshold: float | None
) -> Row:
    """Makes an image's row at the given thresholds; None for what the split does not have."""
    peak = int(item.levels.max())
    iou = best_iou = otsu_iou = x0 = y0 = x1 = y1 = mask = ap = None
    kind = ""
    if mask_threshold is not None and (histogram := item.kept["PxAP"])[OBJECT].any():
        place = int(np.abs(np.append(THRESHOLDS, 1) - mask_threshold).argmin())
        mask = float(mask_iou(histogram)[place])
        ap = average_precision(*precision_recall(histogram))
        false, true = histogram[:, place:].sum(axis=1).tolist()
        missed = int(histogram[OBJECT, :place].sum())
        kind = kind_of_pixels(true, false, missed, peak=peak, rank=item.rank)
    truth = read_boxes(split, item.index, FRAME)
    if box_threshold is not None and item.boxes is not None and truth is not None:
        grey = int(grey_thresholds(peak, box_threshold))
        box = item.boxes[grey].astype(np.int64)  # areas are beyond 16 bits
        x0, y0, x1, y1 = box.tolist()
        curve = item.kept["MaxBoxAcc"][:, 0]
        iou, otsu_iou = float(curve[grey]), float(curve[item.otsu])
        best_iou = float(curve[: max(peak, 1)].max())
        kind = kind_of_boxes(box, truth, peak=peak, rank=item.rank)
    return Row(
        split.ids[item.index],
        int(split.labels[item.index]),
        None if item.predicted < 0 else item.predicted,
        None if np.isnan(item.confidence) else round(item.confidence, 6),
        None if item.rank < 0 else item.rank,
        iou,
        best_iou,
        otsu_iou,
        x0,
        y0,
        x1,
        y1,
        mask,
        ap,
        kind,
    )
