"""One map against the ground truth of its image, at every threshold."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fcam_tf.data.split import Split
from fcam_tf.grey_levels import LEVELS
from fcam_tf.metrics import MEASURES, join_masks, resize_boxes
from fcam_tf.metrics.measures import THRESHOLDS, HeatMap, Measure, score_histogram


@dataclasses.dataclass(frozen=True)
class Scored:
    """What is kept of one image: its heat map's scores at every threshold, and its classes."""

    levels: NDArray[np.uint8]  # (H, W) uint8, the map in the 256 levels that box metrics threshold
    otsu: int  # Otsu's threshold of it
    activation: NDArray[np.float64]  # (1000,) fraction of its pixels in each bin of [0, 1]
    # (256, 4) int16, the box of the largest contour at each threshold, or None without true boxes.
    boxes: NDArray[np.int16] | None
    # What each metric keeps, by its name (``metrics.MEASURES``), where the image has what it needs.
    kept: dict[str, NDArray]
    index: int = 0  # of the image in its split
    rank: int = -1  # how many classes are predicted before the true one, -1 if that is not known
    predicted: int = -1  # the class with the highest score, -1 if there are no class scores
    confidence: float = np.nan  # its probability, NaN without
    # If explanations are measured: columns of a `Row` and curves by name, see `measured`.
    explanation: dict[str, Any] = dataclasses.field(default_factory=dict)


def measures_of(split: Split) -> dict[str, Measure]:
    """Those of ``metrics.MEASURES`` that a split has ground truth for, by name."""
    there = {"boxes": split.boxes, "mask": split.masks}
    return {name: measure for name, measure in MEASURES.items() if there[measure.truth] is not None}


def read_truth(split: Split, index: int, frame: int) -> dict[str, NDArray]:
    """Brings an image's ground truth into a square frame (side in pixels) as the benchmark does.

    Returns:
        What there is of "boxes", (n, 4) int64 x0, y0, x1, y1, and "mask", (frame, frame) uint8 with
        1 object, 0 background, 255 ignored.

    Raises:
        ValueError, OSError: the ground truth is malformed; the message names the image.
    """
    truth: dict[str, NDArray] = {}
    try:
        if split.boxes is not None:
            truth["boxes"] = resize_boxes(split.boxes[index], split.size(index), (frame, frame))
        if split.masks is not None:
            truth["mask"] = join_masks(*split.read_masks(index), size=(frame, frame))
    except ValueError as error:
        raise ValueError(f"ground truth of {split.ids[index]}: {error}") from None
    return truth


def score_map(heatmap: ArrayLike, truth: dict[str, NDArray], name: str, **known: Any) -> Scored:
    """Scores a heat map at every threshold, in the frame of its ground truth.

    The map is (H, W) floats in [0, 1]. ``known`` is what else a ``Scored`` holds: index, rank,
    predicted and confidence.

    Raises:
        TypeError, ValueError: the map is malformed; the message calls it the map of ``name``.
    """
    found, boxes = HeatMap(heatmap, f"the map of {name}"), None
    kept = {
        metric: measure.of(found, truth[measure.truth])
        for metric, measure in MEASURES.items()
        if measure.truth in truth
    }
    if "boxes" in truth:
        boxes = np.zeros((LEVELS, 4), np.int16)
        boxes[found.largest.first] = found.largest.boxes
    return Scored(found.levels, found.otsu, _activation(found.scores), boxes, kept, **known)


def _activation(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    counts = score_histogram(scores, np.zeros(scores.shape, np.uint8), THRESHOLDS)[0]
    counts[-2] += counts[-1]  # the last bin of a histogram of [0, 1] holds 1 itself
    return counts[:-1] / scores.size
