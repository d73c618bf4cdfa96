"""What is written for a class that a photo shows: an overlay and a heat map."""

from __future__ import annotations

import io
import struct
import zlib
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
    """Write the overlay and the heat map of one class, as far as they are requested.

    Args:
        files: the files of the photo.
        photo: the photo, with a view if an overlay is requested.
        found: the class, without a batch axis.
        regions: its objects, whose boxes are drawn.
        caption: the caption of the class.
        number: number of the class in the photo, from 1 on.

    Returns:
        The names of its files below the output folder, "overlay" and "heatmap"; None for a file
        that was not written.

    Raises:
        OSError: a file cannot be written; no partial file is left.
    """
    names: dict[str, str | None] = {"overlay": None, "heatmap": None}
    end = OVERLAYS[files.wanted.overlay]
    if end and photo.view is not None:
        drawn = visualize.overlay(
            photo.view,
            found.heatmaps,
            [region.box for region in regions],
            caption,
            float(found.scores),
        )
        names["overlay"] = files.write("overlay", number, end, encoded(drawn, end))
    if end := HEATMAPS[files.wanted.heatmap]:
        values = visualize.resize_heatmap(found.heatmaps, *photo.view_size)
        if end == "npy":
            data = _npy(values)
        else:
            values *= 65535  # in place: it has a million pixels
            values += 0.5
            data = deep_png(values.astype(np.uint16))
        names["heatmap"] = files.write("heatmap", number, end, data)
    return names


def encoded(values: np.ndarray, end: str = "png", **options: Any) -> bytes:
    """Return a picture encoded for a file extension; ``options`` are further options of Pillow."""
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, **(_ENCODERS[end] | options))
    return buffer.getvalue()


def deep_png(values: np.ndarray) -> bytes:
    """Return a picture (h, w) uint16 as a 16-bit grey PNG file.

    Each row is stored as its difference from the row above, which suits a smooth map. Pillow tries
    five filters on each row, which takes three times as long and saves a tenth.
    """
    rows = values.astype(">u2").view(np.uint8)
    lines = np.full((len(rows), 1 + rows.shape[1]), 2, np.uint8)  # each begins with its filter, Up
    lines[:, 1:] = rows
    lines[1:, 1:] -= rows[:-1]
    deflate = zlib.compressobj(1, strategy=zlib.Z_RLE)
    data = deflate.compress(lines.data) + deflate.flush()
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 0, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n"
    for name, content in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b"")):
        check = zlib.crc32(name + content)
        file += struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)
    return file


def _npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()
