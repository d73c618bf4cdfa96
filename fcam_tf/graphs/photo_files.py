"""Photo files read within a graph, as `fcam_tf.photos` reads them, and masks written as files."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

LARGEST = 2**26  # pixels of a photo; more are refused by the file's header, before it is decoded
_HEAD = 2**17  # bytes of a file that are searched for its orientation
# The tag 0x112 among the first entries, of 12 bytes each and sorted, of the first directory of EXIF
# data in a JPEG or PNG file, in either byte order.
_ORIENTATION = (
    r"\C*?(?:Exif\x00\x00|eXIf)(?:"
    r"MM\x00\*\x00\x00\x00\x08\C\C(?:\C{12}){0,12}?\x01\x12\x00\x03\x00\x00\x00\x01\x00([\x01-\x08])|"
    r"II\*\x00\x08\x00\x00\x00\C\C(?:\C{12}){0,12}?\x12\x01\x03\x00\x01\x00\x00\x00([\x01-\x08])"
    r")\C*"
)
_PNG = b"\x89PNG\r\n\x1a\n"


def decode_file(file: Any, sides: tuple[int, int]) -> tuple[Any, Any]:
    """Return a photo, upright, in the model's height and width, and its own width and height."""
    pixels = tf.reduce_prod(_declared_size(file))
    with tf.control_dependencies(
        [tf.debugging.assert_less_equal(pixels, np.int64(LARGEST), "the photo has too many pixels")]
    ):
        file = tf.identity(file)
    image = tf.cond(
        tf.io.is_jpeg(file),
        # The default is a faster transform, whose values are up to 7 off.
        lambda: tf.io.decode_jpeg(file, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: _decode_png(file),
    )
    image = tf.ensure_shape(image, (None, None, 3))
    height, width = tf.unstack(tf.shape(image)[:2])
    orientation = _orientation(file)
    quarter = orientation >= 5
    upright = tf.cond(
        quarter,
        lambda: tf.transpose(tf.image.resize(image, sides[::-1], antialias=True), (1, 0, 2)),
        lambda: tf.image.resize(image, sides, antialias=True),
    )
    upright = tf.where(_is_one_of(orientation, (2, 3, 6, 7)), upright[:, ::-1], upright)
    upright = tf.where(_is_one_of(orientation, (3, 4, 7, 8)), upright[::-1], upright)
    size = tf.where(quarter, tf.stack([height, width]), tf.stack([width, height]))
    return tf.clip_by_value(tf.round(upright), 0, 255), size


def _decode_png(file: Any) -> Any:
    def on_white() -> Any:
        image = tf.cast(tf.io.decode_png(file, channels=4), tf.uint16)  # 255 * 255 fits
        alpha = image[..., 3:]
        return tf.cast((image[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255, tf.uint8)

    # Four channels only where there are: below 8 bits a missing one is filled with a wrong value.
    kind = tf.io.decode_raw(tf.strings.substr(file, 25, 1), tf.uint8)[0]
    transparent = _is_one_of(kind, (4, 6)) | tf.strings.regex_full_match(file, r"\C*tRNS\C*")
    return tf.cond(transparent, on_white, lambda: tf.io.decode_png(file, channels=3))


def _orientation(file: Any) -> Any:
    """Return the EXIF orientation, 1 to 8; 1 where the file names none."""
    head = tf.strings.substr(file, 0, _HEAD)
    found = tf.strings.regex_replace(head, _ORIENTATION, r"\1\2")
    number = tf.io.decode_raw(tf.strings.substr(found, 0, 1), tf.uint8)[0]
    return tf.where(tf.strings.length(found) == 1, tf.cast(number, tf.int32), 1)


def _is_one_of(value: Any, values: tuple[int, ...]) -> Any:
    return tf.reduce_any(value == tf.constant(values, value.dtype))


def _declared_size(file: Any) -> Any:
    """Return the two sides that the header of a JPEG or PNG file names, (2,) int64."""

    def jpeg() -> Any:
        return tf.io.extract_jpeg_shape(file, tf.int32)[:2]

    def png() -> Any:
        is_png = tf.strings.substr(file, 0, len(_PNG)) == _PNG
        right = tf.debugging.Assert(is_png, ["the photo is neither a JPEG nor a PNG file"])
        with tf.control_dependencies([right]):
            sides = tf.strings.substr(file, 16, 8)  # of IHDR, which always comes first
        return tf.reshape(tf.io.decode_raw(sides, tf.int32, little_endian=False), (2,))

    return tf.cast(tf.cond(tf.io.is_jpeg(file), jpeg, png), tf.int64)


def encode_mask(mask: Any, size: Any) -> Any:
    """Return a mask (H, W) bool as a PNG file of another width and height, 255 inside."""
    scaled = tf.image.resize(tf.cast(mask, tf.uint8)[..., None] * 255, size[::-1], method="nearest")
    return tf.io.encode_png(scaled)
