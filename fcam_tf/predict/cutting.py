"""Cutting an object from a photo: its mask, in several forms, and the object itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import skimage.measure
import skimage.segmentation
from PIL import Image

from fcam_tf.grey_levels import to_levels
from fcam_tf.localization import scale_box
from fcam_tf.predict.files import PhotoFiles
from fcam_tf.predict.pictures import encoded

if TYPE_CHECKING:
    from fcam_tf.localization import Localization, Region

_QUALITY = 95  # of JPEG
Size = tuple[int, int]  # width and height in pixels
Box = tuple[int, int, int, int]


def alpha_of(region: Region, frame: Size, size: Size) -> tuple[Box, np.ndarray]:
    """Scale a region to the pixels of its photo.

    Args:
        region: region of a heat map.
        frame: width and height of that map.
        size: width and height of the result.

    Returns:
        The region's box in the photo, and how much of each pixel in the box belongs to the region,
        (h, w) float32, where 255 is all of it. This is the mask, scaled bilinearly (antialiased if
        the photo is smaller). In each row and column of the box some pixel is above 0.
    """
    box = scale_box(region.box, frame, size)
    alpha = np.where(region.mask, np.float32(255), np.float32(0))
    if frame == size:
        return box, alpha
    # The part of the map that the box covers. Whole pixels of the photo may reach out of the
    # region's own box by less than one of them, hence a rim of zeros.
    scale = np.array(frame) / size
    rim = 1 + int(np.ceil(scale.max()))
    origin = np.array(region.box[:2]) - rim
    source = (*(box[:2] * scale - origin), *((np.array(box[2:]) + 1) * scale - origin))
    target = (box[2] - box[0] + 1, box[3] - box[1] + 1)
    image = Image.fromarray(np.pad(alpha, rim))
    return box, np.asarray(image.resize(target, Image.Resampling.BILINEAR, box=source))


def mask_of(region: Region | None, frame: Size, size: Size) -> np.ndarray:
    """Return the mask of a region in its photo, (height, width) uint8, 1 on the region, else 0.

    It extends to the edges of the region's box in every direction. If the region fills less than
    half of every pixel in a row or column of the box, as at a tip, the pixel that it fills most is
    taken. So the mask is never empty, unless there is no region.
    """
    mask = np.zeros(size[::-1], np.uint8)
    if region is not None:
        (x0, y0, x1, y1), alpha = alpha_of(region, frame, size)
        rows, columns = alpha.max(1, keepdims=True), alpha.max(0)
        mask[y0 : y1 + 1, x0 : x1 + 1] = alpha >= np.minimum(np.minimum(rows, columns), 127.5)
    return mask


def soft_mask(found: Localization, region: Region | None, size: Size) -> np.ndarray:
    """Return the part of the heat map that belongs to a region, (height, width) uint8, 255 is 1.

    A pixel belongs to the nearest of all regions above the threshold.
    """
    levels = to_levels(found.heatmaps)
    if region is not None:
        cut = round(float(found.thresholds) * int(levels.max()))
        labels = skimage.measure.label(levels > cut, connectivity=2)
        x0, y0, x1, y1 = region.box
        own = labels[y0 : y1 + 1, x0 : x1 + 1][region.mask][0]
        if labels.max() > 1:
            nearest = skimage.segmentation.expand_labels(labels, np.inf)
            levels = np.where(nearest == own, levels, 0)
    image = Image.fromarray(levels.astype(np.uint8))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR))


def coco_rle(mask: np.ndarray) -> dict[str, Any]:
    """Return a mask (height, width) uint8, 0 or 1, as COCO's compressed run lengths."""
    from pycocotools import mask as coco  # noqa: PLC0415 - an extra

    found = coco.encode(np.asfortranarray(mask))
    return {"size": [int(n) for n in found["size"]], "counts": found["counts"].decode("ascii")}


def write_object(
    files: PhotoFiles,
    found: Localization,
    region: Region | None,
    size: Size,
    pixels: np.ndarray | None,
    *,
    number: int,
) -> dict[str, Any]:
    """Write the masks and the cut-outs of one object, as far as they are requested.

    Args:
        files: the files of the photo.
        found: the object's class, without a batch axis.
        region: the object; None if nothing was found, which gives empty masks.
        size: width and height of the photo.
        pixels: the photo (h, w, 3) uint8 to cut from; None if nothing is cut.
        number: number of the object in the photo, from 1 on.

    Returns:
        The names of its files below the output folder, and its run lengths, for its record.

    Raises:
        OSError: a file cannot be written; no partial file is left.
    """
    entry: dict[str, Any] = {}
    wanted = files.wanted
    frame = found.heatmaps.shape[::-1]
    if "png" in wanted.mask or "rle" in wanted.mask:
        mask = mask_of(region, frame, size)
        if "png" in wanted.mask:
            entry["mask"] = files.write("mask", number, "png", encoded(255 * mask))
        if "rle" in wanted.mask:
            entry["rle"] = coco_rle(mask)
    if "soft" in wanted.mask:
        data = encoded(soft_mask(found, region, size))
        entry["soft_mask"] = files.write("soft", number, "png", data)
    if pixels is not None and wanted.need_pixels:
        entry |= _cut(files, region, frame, pixels, number=number)
    return entry


def _cut(
    files: PhotoFiles, region: Region | None, frame: Size, pixels: np.ndarray, *, number: int
) -> dict[str, str | None]:
    """Write crop and cut-out; there is none of no region."""
    wanted = files.wanted
    kinds: Sequence[str] = [*["crop"] * wanted.crops, *["cutout"] * wanted.cutouts]
    entry: dict[str, str | None] = dict.fromkeys(kinds)
    if region is None:
        return entry
    (x0, y0, x1, y1), alpha = alpha_of(region, frame, pixels.shape[1::-1])
    crop = pixels[y0 : y1 + 1, x0 : x1 + 1]
    if wanted.crops:
        entry["crop"] = files.write("crop", number, "jpg", encoded(crop, "jpg", quality=_QUALITY))
    if wanted.cutouts:
        values = np.concatenate([crop, np.rint(alpha[..., None]).astype(np.uint8)], -1)
        entry["cutout"] = files.write("cutout", number, "png", encoded(values))
    return entry
