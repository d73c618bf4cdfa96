"""Export for TF Serving: a SavedModel that needs nothing of ours to run."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fcam_tf import cams
from fcam_tf.atomic import new_folder
from fcam_tf.graphs import regions
from fcam_tf.localization import check_threshold
from fcam_tf.models import FCAM
from fcam_tf.models.inference import maps_and_logits

BYTES = "serve_bytes"
WARMUP = "assets.extra/tf_serving_warmup_requests"
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


def export(
    model: FCAM,
    path: str | Path,
    *,
    threshold: str | float | None = None,
    flip: bool = False,
) -> Path:
    """Write a model as a SavedModel of core TensorFlow operations.

    Signatures:

    - ``serving_default(images)``: (B, H, W, 3) float32 RGB in [0, 255], any size;
    - ``serve_uint8(images)``: the same for uint8;
    - ``serve_bytes(image_bytes)``: (B,) JPEG or PNG files, photos of any sizes in one batch.

    The folder holds requests that TF Serving runs before it takes others.

    Outputs: ``heatmap`` (B, H, W) float32 in [0, 1], ``label`` (B,) int64, ``score`` (B,) and
    ``logits`` (B, classes) float32, ``boxes`` (B, 4) int32 x0, y0, x1, y1, all inclusive
    (0, 0, -1, -1 where nothing was found). For files, heat maps are those of the frame that photos
    are resized to, boxes are in each photo's own pixels, and ``mask_bytes`` (B,) holds the object
    as a PNG file of the photo's size, 255 inside. (By that ending TensorFlow Serving knows that its
    JSON must have it in base64.)

    As in `fcam_tf.photos`, transparency is composited onto white and EXIF orientation is applied:
    boxes and masks are those of the photo as a viewer shows it, not as its pixels are stored.

    A batch of another rank or number of channels, an empty one, an image that contains NaN or
    infinity, or a file that cannot be decoded, fails its request as an invalid argument.

    Args:
        model: the F-CAM.
        path: folder to make, such as ``serving/fcam/1``: below a model's folder TF Serving finds
            versions only by numbers. Another name is warned of.
        threshold: what counts as object; None for the model's own.
        flip: whether heat maps are means of those of the images and of their mirror images, as of
            ``FCAM.localize(flip=True)``. It doubles the cost.

    Returns:
        The folder, which appears whole.

    Raises:
        TypeError: ``model`` is not an F-CAM.
        FileExistsError: ``path`` exists.
        ValueError: unknown ``threshold``.
        OSError: it cannot be written.
    """
    if not isinstance(model, FCAM):
        raise TypeError(f"`model` must be an F-CAM, see `fcam train`. Received: {type(model)}.")
    threshold = check_threshold(model.threshold if threshold is None else threshold)
    path = Path(path)
    archive = _archive(model, threshold, flip=flip)
    with new_folder(path) as place:
        archive.write_out(str(place), verbose=False)
        _write_warmup(place / WARMUP, path.resolve().parent.name, _sides(model))
    if not (path.name.isascii() and path.name.isdigit()):
        warnings.warn(
            f"TF Serving will not find {path}: a version's folder must be a number, such as "
            f"{path.with_name('1')}.",
            stacklevel=2,
        )
    return path


def _archive(model: FCAM, threshold: str | float, *, flip: bool) -> keras.export.ExportArchive:
    """Return the model with its three signatures."""
    height, width = sides = _sides(model)
    shape = (None, *model.input_shape[1:3], 3)

    def localize(images: Any) -> dict[str, Any]:
        some = tf.debugging.assert_positive(tf.shape(images), "there are no images or no pixels")
        with tf.control_dependencies([some]):
            images = tf.identity(images)
        heatmaps, logits = maps_and_logits(lambda x: model(x, training=False), images, flip=flip)
        probabilities = cams.probabilities(logits, model.activation)
        return {
            "heatmap": heatmaps,
            "label": tf.argmax(probabilities, axis=1),
            "score": tf.reduce_max(probabilities, axis=1),
            "logits": logits,
        }

    def serve(images: Any) -> dict[str, Any]:
        # Signatures do not check ranks, and oneDNN's kernels end the process at a wrong one.
        images = tf.ensure_shape(images, shape)
        images = tf.debugging.check_numerics(tf.cast(images, tf.float32), "images")
        found = localize(images)
        masks = regions.object_masks(found["heatmap"], threshold)
        return {**found, "boxes": regions.boxes_of(masks)}

    def serve_bytes(files: Any) -> dict[str, Any]:
        images, sizes = tf.map_fn(
            lambda file: _decode(file, sides),
            files,
            fn_output_signature=(tf.TensorSpec((*sides, 3)), tf.TensorSpec((2,), tf.int32)),
        )
        found = localize(images)
        masks = regions.object_masks(found["heatmap"], threshold)
        boxes = regions.scale_boxes(regions.boxes_of(masks), tf.constant([width, height]), sizes)
        pictures = tf.map_fn(
            lambda pair: _encode(*pair), (masks, sizes), fn_output_signature=tf.string
        )
        return {**found, "boxes": boxes, "mask_bytes": pictures}

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", serve, [tf.TensorSpec(shape, tf.float32, "images")])
    archive.add_endpoint("serve_uint8", serve, [tf.TensorSpec(shape, tf.uint8, "images")])
    archive.add_endpoint(BYTES, serve_bytes, [tf.TensorSpec((None,), tf.string, "image_bytes")])
    return archive


def _sides(model: FCAM) -> tuple[int, int]:
    """Return the height and width that photos are resized to."""
    height, width = (side or model.input_size for side in model.input_shape[1:3])
    return height, width


def _decode(file: Any, sides: tuple[int, int]) -> tuple[Any, Any]:
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


def _encode(mask: Any, size: Any) -> Any:
    scaled = tf.image.resize(tf.cast(mask, tf.uint8)[..., None] * 255, size[::-1], method="nearest")
    return tf.io.encode_png(scaled)


def _write_warmup(path: Path, name: str, sides: tuple[int, int]) -> None:
    """Write requests as PredictionLogs of tensorflow_serving/apis, fields by their numbers."""
    picture = tf.io.encode_jpeg(tf.zeros((*sides, 3), tf.uint8)).numpy()
    requests = {
        "serving_default": ("images", tf.make_tensor_proto(tf.zeros((1, *sides, 3)))),
        BYTES: ("image_bytes", tf.make_tensor_proto([picture])),
    }
    path.parent.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, (key, tensor) in requests.items():
            spec = _field(1, name.encode()) + _field(3, signature.encode())
            pair = _field(1, key.encode()) + _field(2, tensor.SerializeToString())
            request = _field(1, spec) + _field(2, pair)
            writer.write(_field(6, _field(1, request)))


def _field(number: int, content: bytes) -> bytes:
    """Encode a field of a protocol buffer that holds bytes."""
    length, count = b"", len(content)
    while count > 127:
        length += bytes([count & 127 | 128])
        count >>= 7
    return bytes([number << 3 | 2]) + length + bytes([count]) + content
