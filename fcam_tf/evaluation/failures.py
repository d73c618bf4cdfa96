"""Why an image counts as wrong, measured on its boxes or masks.

The kinds are those of error analyses in the field (part, more, multi-instance; e.g. Gao et al.,
TS-CAM, ICCV 2021), made exclusive by the order of `_kind`. The true region with the
highest IoU is meant, in inclusive pixels.
"""

import numpy as np
from numpy.typing import NDArray

from fcam_tf.metrics.boxes import pairwise_iou

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
    if inside > INSIDE:
        return "too small"
    return "too large" if covered > COVERED else "wrong place"
