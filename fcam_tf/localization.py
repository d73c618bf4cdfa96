"""From heat maps to masks and boxes: pure functions, and the result they make."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import skimage.measure

from fcam_tf.grey_levels import otsu, to_levels
from fcam_tf.masks import NO_BOX, box_of
from fcam_tf.names import MIN_AREA

OTSU = "otsu"


class Region(NamedTuple):
    """One connected region of what is above the threshold of a heat map.

    Attributes:
        box: x0, y0, x1, y1 in the frame of the heat map, all inclusive.
        mask: (y1 - y0 + 1, x1 - x0 + 1) bool, the region's pixels within its box.
        area: in (0, 1], the region's pixels as a fraction of the heat map's.
        heat: in (0, 1], the mean of the heat map over the region.
    """

    box: tuple[int, int, int, int]
    mask: np.ndarray
    area: float
    heat: float


@dataclasses.dataclass(frozen=True)
class Localization:
    """What is in each image of a batch, and where.

    Attributes:
        heatmaps: (B, H, W) float32 in [0, 1], high on the evidence for the label.
        labels: (B,) int64, the class that was localised.
        scores: (B,) float32 in [0, 1], probability of the label.
        boxes: (B, 4) int64, x0, y0, x1, y1 of the mask in the frame of the heat map, all inclusive;
            `NO_BOX` where the mask is empty.
        masks: (B, H, W) bool, the largest 8-connected component above the threshold; empty where
            the heat map is all zero.
        thresholds: (B,) float32 in [0, 1], what was applied, relative to the heat map's maximum.
        probabilities: (B, classes) float32 in [0, 1]; they sum to one, unless the classifier gives
            each class a sigmoid.
    """

    heatmaps: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray
    thresholds: np.ndarray
    probabilities: np.ndarray

    @classmethod
    def from_heatmaps(
        cls,
        heatmaps: np.ndarray,
        probabilities: np.ndarray,
        labels: np.ndarray | None = None,
        threshold: str | float = OTSU,
    ) -> Localization:
        """Find mask and box in each heat map.

        Args:
            heatmaps: (B, H, W) in [0, 1]; NaN counts as 0.
            probabilities: (B, classes).
            labels: the classes whose evidence the maps show, see `class_numbers`.
            threshold: "otsu", or a number in [0, 1] relative to each map's maximum.

        Returns:
            The localisation of the batch.

        Raises:
            ValueError: unknown ``threshold``, or a label that is not a class.
        """
        heatmaps = np.clip(np.nan_to_num(np.asarray(heatmaps, np.float32)), 0, 1)
        probabilities = np.asarray(probabilities, np.float32)
        labels = class_numbers(labels, len(heatmaps), probabilities.shape[-1])
        labels = np.where(labels < 0, probabilities.argmax(-1), labels)
        levels = [threshold_level(heatmap, threshold) for heatmap in heatmaps]
        masks = [largest_component(to_levels(m) > t) for m, t in zip(heatmaps, levels, strict=True)]
        peaks = np.maximum(to_levels(heatmaps).max((1, 2)), 1)
        return cls(
            heatmaps=heatmaps,
            labels=labels,
            scores=np.take_along_axis(probabilities, labels[:, None], 1)[:, 0],
            boxes=np.array([box_of(mask) for mask in masks], np.int64).reshape(-1, 4),
            masks=np.array(masks, bool).reshape(heatmaps.shape),
            thresholds=(np.array(levels) / peaks).astype(np.float32),
            probabilities=probabilities,
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int | slice | np.ndarray) -> Localization:
        """Return one image's localisation, without the batch axis, or a part of the batch."""
        return Localization(
            *(getattr(self, field.name)[index] for field in dataclasses.fields(self))
        )

    @classmethod
    def joined(cls, parts: Sequence[Localization]) -> Localization:
        """Join batches whose images have one size."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(*(np.concatenate([getattr(each, name) for each in parts]) for name in names))

    def regions(self, most: int | None = None, min_area: float = MIN_AREA) -> list[Region]:
        """Find each connected region above the threshold in one image's localisation, ``found[i]``.

        The largest comes first, which is the one of ``boxes`` and ``masks`` however small it is.

        Args:
            most: how many at most; None gives all.
            min_area: the least area of the others, as a fraction of the image's.

        Returns:
            8-connected regions; none where the heat map is all zero.
        """
        if most == 1:
            return self._largest()
        levels = to_levels(self.heatmaps)
        cut = round(float(self.thresholds) * max(int(levels.max()), 1))  # as in `from_heatmaps`
        labels = skimage.measure.label(levels > cut, connectivity=2)
        found = skimage.measure.regionprops(labels, self.heatmaps)
        found.sort(key=lambda region: -region.num_pixels)  # stable: on ties in reading order
        least = min_area * labels.size
        kept = [r for i, r in enumerate(found) if i == 0 or r.num_pixels >= least][:most]
        return [
            Region(
                (region.bbox[1], region.bbox[0], region.bbox[3] - 1, region.bbox[2] - 1),
                region.image,
                region.num_pixels / labels.size,
                float(region.intensity_mean),
            )
            for region in kept
        ]

    def _largest(self) -> list[Region]:
        """Return the region that ``boxes`` and ``masks`` are of, without looking for it again."""
        x0, y0, x1, y1 = map(int, self.boxes)
        mask = self.masks[y0 : y1 + 1, x0 : x1 + 1]
        heat = self.heatmaps[y0 : y1 + 1, x0 : x1 + 1][mask]
        if not heat.size:
            return []
        return [Region((x0, y0, x1, y1), mask, heat.size / self.masks.size, float(heat.mean()))]

    def of_labels(self, labels: np.ndarray) -> Localization:
        """Return the same maps and boxes as those of other labels (B,)."""
        scores = np.take_along_axis(self.probabilities, labels[:, None], 1)[:, 0]
        return dataclasses.replace(self, labels=labels, scores=scores)


def class_numbers(labels: Any, batch: int, classes: int) -> np.ndarray:
    """Return the class of each image; what ``labels`` means wherever classes are chosen.

    Args:
        labels: (B,) or (B, 1) integers, one for all images, or None for the predicted classes;
            -1 is the predicted class of one image.
        batch: B.
        classes: how many there are.

    Returns:
        (B,) int64, in [-1, classes).

    Raises:
        ValueError: another shape, not integers, or not a class.
    """
    values = np.asarray(-1 if labels is None else labels)
    if values.ndim == 0:
        values = np.full(batch, values)
    if values.shape == (batch, 1):
        values = values[:, 0]
    if values.shape != (batch,) or (batch and not np.issubdtype(values.dtype, np.integer)):
        raise ValueError(
            f"`labels` must be {batch} class numbers, one for each image. Received: shape "
            f"{values.shape}, {values.dtype}."
        )
    values = values.astype(np.int64)
    wrong = values[(values < -1) | (values >= classes)]
    if wrong.size:
        raise ValueError(
            f"`labels` must lie in [0, {classes}). Received: {wrong[0]}. None, and -1 for one "
            "image, stand for the predicted class."
        )
    return values


def check_threshold(threshold: str | float) -> str | float:
    """Return "otsu", or a number or its text as a float in [0, 1]; else raise a ValueError."""
    if threshold == OTSU:
        return OTSU
    try:
        number = float(threshold)
    except (TypeError, ValueError):
        number = np.nan
    if not 0 <= number <= 1:
        raise ValueError(
            f"`threshold` must be 'otsu' or a number in [0, 1]. Received: {threshold}."
        )
    return number


def threshold_level(heatmap: np.ndarray, threshold: str | float = OTSU) -> int:
    """Find the level that separates object from background, in 256 steps of the heat map.

    The map is cut to 0..255 by truncation, and pixels strictly above the level are object, as in
    the WSOL benchmark (Choe et al., CVPR 2020): a threshold that was chosen on a validation split
    by MaxBoxAcc means the same here. Unlike there, the maximum itself is always object, so a map
    that is not zero never loses its last pixel.

    Args:
        heatmap: (H, W) in [0, 1].
        threshold: "otsu" (Otsu, 1979: largest variance between the two sides), or a number in
            [0, 1] relative to the map's maximum.

    Returns:
        The level in 0..254; 0 for an all-zero map.

    Raises:
        ValueError: unknown ``threshold``.
    """
    threshold = check_threshold(threshold)
    values = to_levels(heatmap)
    peak = int(values.max())
    level = otsu(np.bincount(values.ravel())) if threshold == OTSU else int(threshold * peak)
    return max(0, min(level, peak - 1))


def largest_component(mask: np.ndarray) -> np.ndarray:
    """Keep of a mask (H, W) bool the 8-connected component with the most pixels.

    On ties that is the first in reading order; an empty mask stays empty.
    """
    labels = skimage.measure.label(mask, connectivity=2)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return (labels == sizes.argmax()) & mask


def scale_box(
    box: Sequence[int], source: tuple[int, int], target: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Scale a box to the same picture at another size.

    The result is the smallest box of whole pixels that covers what ``box`` covers, so it is never
    empty and never leaves the picture.

    Args:
        box: x0, y0, x1, y1, all inclusive, in the source's pixels.
        source: width and height of the frame that ``box`` is in.
        target: width and height of the frame wanted.

    Returns:
        x0, y0, x1, y1, all inclusive, in the target's pixels; `NO_BOX` stays `NO_BOX`.
    """
    x0, y0, x1, y1 = (int(edge) for edge in box)
    if (x0, y0, x1, y1) == NO_BOX:
        return NO_BOX
    (width, height), (new_width, new_height) = source, target
    return (
        x0 * new_width // width,
        y0 * new_height // height,
        -((x1 + 1) * -new_width // width) - 1,
        -((y1 + 1) * -new_height // height) - 1,
    )
