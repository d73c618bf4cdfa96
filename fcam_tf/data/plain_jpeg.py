"""Which JPEG files TensorFlow decodes to the very pixels of `fcam_tf.photos`, and faster."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

from fcam_tf.photos import VIEW_SIDE

_HEAD = 2**16  # bytes of a JPEG file in which its metadata mostly end
_TURNED = re.compile(  # an orientation other than 1, in EXIF of either byte order, or in XMP
    rb"\x12\x01(?!\x03\x00\x01\x00\x00\x00\x01\x00)[\x01-\x0d]\x00"
    rb"|\x01\x12(?!\x00\x03\x00\x00\x00\x01\x00\x01)\x00[\x01-\x0d]"
    rb"|tiff:Orientation(?:=\"|>)[2-8]"
)


def is_plain_jpeg(path: Path, *, upright: bool = True) -> bool:
    """Tell whether TensorFlow decodes a file to the pixels of `read_pixels`, and faster.

    It is a whole JPEG of grey or YCbCr, in 8 bits, smaller than what is decoded at a part of its
    size, and needs no turning.
    """
    try:
        if not path.is_file():  # opening a pipe would wait for what never comes
            return False
        with path.open("rb", buffering=0) as file:
            head = file.read(_HEAD)
            file.seek(-2, os.SEEK_END)
            return file.read(2) == b"\xff\xd9" and _starts_plain_jpeg(head, upright=upright)
    except OSError:  # `read_pixels` says what is wrong
        return False


def _starts_plain_jpeg(head: bytes, *, upright: bool) -> bool:
    place, metadata = 2, b""
    while head[:2] == b"\xff\xd8" and head[place : place + 1] == b"\xff" and place + 9 < len(head):
        marker, length = head[place + 1], int.from_bytes(head[place + 2 : place + 4])
        if marker in (0xC0, 0xC1, 0xC2):  # baseline, extended or progressive
            bits, *sides, channels = struct.unpack_from(">BHHB", head, place + 4)
            return (
                (bits, channels) in ((8, 1), (8, 3))
                and min(sides) > 0
                and max(sides) < 2 * VIEW_SIDE
                and not (upright and _TURNED.search(metadata))
            )
        if 0xC0 <= marker <= 0xCF and marker != 0xC4:  # arithmetic, lossless, hierarchical
            return False
        segment = head[place + 4 : place + 2 + length]
        if marker == 0xEE and segment[:5] == b"Adobe" and segment[-1:] != b"\x01":
            return False  # RGB or CMYK
        if marker == 0xE1:
            metadata += segment
        place += 2 + length
    return False
