"""One row for each image: what results.csv holds and galleries are chosen by.

A row says why an image counts as wrong, measured on its boxes or masks. The kinds are those of
error analyses in the field (part, more, multi-instance; e.g. Gao et al., TS-CAM, ICCV 2021), made
exclusive by the order of `_kind`. The true region with the highest IoU is meant, in inclusive
pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcam_tf.data.split import Split
from fcam_tf.evaluation.measured import CURVES
from fcam_tf.evaluation.scores import Scored
from fcam_tf.evaluation.sources import FRAME
from fcam_tf.masks import OBJECT
from fcam_tf.metrics.boxes import pairwise_iou, resize_boxes
from fcam_tf.metrics.measures import (
    THRESHOLDS,
    average_precision,
    grey_thresholds,
    mask_iou,
    precision_recall,
)

FOUND = "found"  # and the class is right or unknown
CORRECT_IOU = 0.5
INSTANCE_COVERED = 0.3
INSIDE = 0.5
COVERED = 0.7

# The others, and what they mean to whoever reads a report.
KINDS = {
    "too small": "more than half of the predicted region lies inside the object, but it is too "
    "small: the map shows a part",
    "too large": "the predicted region covers more than 0.7 of the object, and much beside it",
    "several instances": "the predicted box covers at least 0.3 of each of two or more objects",
    "wrong place": "the predicted region neither lies mostly inside the object nor covers it",
    "nothing found": "the map is zero everywhere",
    "wrong class": "the box is right, but the class predicted first is another",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One image in results.csv; what does not apply is None.

    Attributes:
        id: of the image.
        label: true class.
        predicted: class with the highest score.
        confidence: its probability.
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
        kind: ``FOUND`` or one of ``KINDS``.
        deletion: area under ``metrics.deletion_curve``. This and what follows only if explanations
            are measured, as fractions; see ``measured.EXPLANATION``.
        insertion: area under ``metrics.insertion_curve``.
        drop: ``metrics.average_drop``.
        increase: ``metrics.increase_in_confidence``, 0 or 1.
        adcc: ``metrics.adcc``.
        road: ``metrics.road_score``.
        sensitivity: ``metrics.maximal_sensitivity``.
        pointing: ``metrics.pointing_game``, 0 or 1; by the mask where there is one.
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
    deletion: float | None = None
    insertion: float | None = None
    drop: float | None = None
    increase: float | None = None
    adcc: float | None = None
    road: float | None = None
    sensitivity: float | None = None
    pointing: float | None = None

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
    if box_threshold is not None and item.boxes is not None and split.boxes is not None:
        grey = int(grey_thresholds(peak, box_threshold))
        box = item.boxes[grey].astype(np.int64)  # areas are beyond 16 bits
        x0, y0, x1, y1 = box.tolist()
        curve = item.kept["MaxBoxAcc"][:, 0]
        iou, otsu_iou = float(curve[grey]), float(curve[item.otsu])
        best_iou = float(curve[: max(peak, 1)].max())
        size = split.size(item.index)
        truth = resize_boxes(split.boxes[item.index], size, (FRAME, FRAME))
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
        **{name: value for name, value in item.explanation.items() if name not in CURVES},
    )


def kind_of_boxes(box: NDArray, truth: NDArray, *, peak: int, rank: int) -> str:
    """One of ``KINDS``, or ``FOUND``, by the (4,) predicted box and the (n, 4) true ones.

    ``peak`` is the 8-bit map's maximum, ``rank`` counts the classes before the true one, or is -1.
    """
    iou = pairwise_iou(box[None], truth)[0]
    nearest = int(iou.argmax())
    size = np.minimum(box[2:], truth[:, 2:]) - np.maximum(box[:2], truth[:, :2]) + 1
    shared = np.clip(size, 0, None).prod(axis=1)
    covered = shared / (truth[:, 2:] - truth[:, :2] + 1).prod(axis=1)
    inside = shared[nearest] / (box[2:] - box[:2] + 1).prod()
    several = bool(np.count_nonzero(covered >= INSTANCE_COVERED) > 1)
    return _kind(iou[nearest], inside, covered[nearest], peak=peak, rank=rank, several=several)


def kind_of_pixels(
    true_positive: int, false_positive: int, false_negative: int, *, peak: int, rank: int
) -> str:
    """The kind of an image by the pixels of its thresholded map, where there are only masks."""
    found, wanted = true_positive + false_positive, true_positive + false_negative
    iou = true_positive / max(found + false_negative, 1)
    inside, covered = true_positive / max(found, 1), true_positive / max(wanted, 1)
    return _kind(iou, inside, covered, peak=peak, rank=rank, several=False)


def _kind(iou: float, inside: float, covered: float, *, peak: int, rank: int, several: bool) -> str:
    if iou >= CORRECT_IOU:
        return "wrong class" if rank > 0 else FOUND
    if peak == 0:
        return "nothing found"
    if several:
        return "several instances"
    if covered > COVERED:  # then a region that lies mostly inside has much beside it all the same
        return "too large"
    return "too small" if inside > INSIDE else "wrong place"
