"""What is written of a class that a photo shows: an overlay and a heat map."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fcam_tf import visualize
from fcam_tf.predict.files import HEATMAPS, OVERLAYS, PhotoFiles

if TYPE_CHECKING:
    from fcam_tf.localization import Localization, Region
    from fcam_tf.photos import Photo

_COMPRESSION = 1  # of zlib: four times as fast as its default, and a sixth larger
_ENCODERS: dict[str, dict[str, Any]] = {
    "png": {"format": "PNG", "compress_level": _COMPRESSION},
    "jpg": {"format": "JPEG", "quality": 90, "subsampling": 0},  # else text and lines are blurred
    "webp": {"format": "WEBP", "quality": 90, "method": 2},
}


def write_pictures(
    files: PhotoFiles,
    photo: Photo,
    found: Localization,
    regions: Sequence[Region],
    caption: str,
    *,
    number: int,
) -> dict[str, str | None]:
    """Write the overlay and the heat map of one class, as far as they are wanted.

    Args:
        files: those of the photo.
        photo: the photo.
        found: the class, without a batch axis.
        regions: its objects, whose boxes are drawn.
        caption: what it is called.
        number: which class of the photo it is, from 1 on.

    Returns:
        The names of its files below the output folder, "overlay" and "heatmap"; None where there is
        none.

    Raises:
        OSError: a file cannot be written; none is left in part.
    """
    names: dict[str, str | None] = {"overlay": None, "heatmap": None}
    if end := OVERLAYS[files.wanted.overlay]:
        drawn = visualize.overlay(
            photo.view,
            found.heatmaps,
            [region.box for region in regions],
            caption,
            float(found.scores),
        )
        names["overlay"] = files.write("overlay", number, end, encoded(drawn, end))
    if end := HEATMAPS[files.wanted.heatmap]:
        height, width = photo.view.shape[:2]
        values = visualize.resize_heatmap(found.heatmaps, width, height)
        data = _npy(values) if end == "npy" else encoded((65535 * values + 0.5).astype("uint16"))
        names["heatmap"] = files.write("heatmap", number, end, data)
    return names


def encoded(values: np.ndarray, end: str = "png", **options: Any) -> bytes:
    """Return a picture as a file of an extension has it; ``options`` are more of Pillow's."""
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, **(_ENCODERS[end] | options))
    return buffer.getvalue()


def _npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()
