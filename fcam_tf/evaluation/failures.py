"""Why an image counts as wrong, measured on its boxes or masks.

The kinds are those of error analyses in the field (part, more, multi-instance; e.g. Gao et al.,
TS-CAM, ICCV 2021), made exclusive by their order here. With P the predicted and T the true region
of the highest IoU, inclusive pixels:

    found              IoU(P, T) >= 0.5, and the class is right or unknown
    wrong class        IoU(P, T) >= 0.5, but the class predicted first is another
    nothing found      the map is zero everywhere
    several instances  P covers at least 0.3 of each of two or more true boxes
    too small          more than half of P lies in T: the object was found in part
    too large          P covers more than 0.7 of T, and more beside it
    wrong place        everything else
"""

import numpy as np
from numpy.typing import NDArray

from fcam_tf.metrics.boxes import pairwise_iou

FOUND = "found"
WRONG_CLASS = "wrong class"
NOTHING = "nothing found"
SEVERAL = "several instances"
TOO_SMALL = "too small"
TOO_LARGE = "too large"
WRONG_PLACE = "wrong place"
KINDS = (TOO_SMALL, TOO_LARGE, SEVERAL, WRONG_PLACE, NOTHING, WRONG_CLASS)

CORRECT_IOU = 0.5
INSTANCE_COVERED = 0.3
INSIDE = 0.5
COVERED = 0.7


def kind_of_boxes(box: NDArray, truth: NDArray, *, peak: int, rank: int) -> str:
    """The kind of an image by its box.

    Args:
        box: (4,) predicted x0, y0, x1, y1.
        truth: (n, 4) true boxes.
        peak: maximum of the 8-bit map.
        rank: how many classes are predicted before the true one, -1 if unknown.

    Returns:
        One of ``KINDS``, or ``FOUND``.
    """
    iou = pairwise_iou(box[None], truth)[0]
    nearest = int(iou.argmax())
    size = np.minimum(box[2:], truth[:, 2:]) - np.maximum(box[:2], truth[:, :2]) + 1
    shared = np.clip(size, 0, None).prod(axis=1)
    covered = shared / (truth[:, 2:] - truth[:, :2] + 1).prod(axis=1)
    inside = shared[nearest] / (box[2:] - box[:2] + 1).prod()
    several = np.count_nonzero(covered >= INSTANCE_COVERED) > 1
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
        return WRONG_CLASS if rank > 0 else FOUND
    if peak == 0:
        return NOTHING
    if several:
        return SEVERAL
    if inside > INSIDE:
        return TOO_SMALL
    if covered > COVERED:
        return TOO_LARGE
    return WRONG_PLACE
