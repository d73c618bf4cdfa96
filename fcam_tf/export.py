"""Export for TF Serving: a SavedModel that needs nothing of ours to run."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from fcam_tf.answers import BYTES, LABELS, Answers, label_lines
from fcam_tf.atomic import new_folder
from fcam_tf.predict.localizer import Localizer

EXTRA = "assets.extra"  # of a SavedModel, for files that its graph does not load
WARMUP = f"{EXTRA}/tf_serving_warmup_requests"


def export(
    model: keras.Model,
    path: str | Path,
    *,
    threshold: str | float | None = None,
    flip: bool = False,
    method: str | None = None,
    layer: Any = None,
) -> Path:
    """Write a model as a SavedModel of core TensorFlow operations.

    Signatures:

    - ``serving_default(images)``: (B, H, W, 3) float32 RGB in [0, 255], any size;
    - ``serve_uint8(images)``: the same for uint8;
    - ``serve_bytes(image_bytes)``: (B,) JPEG or PNG files, photos of any sizes in one batch.

    The folder holds requests that TF Serving runs before it takes others, and beside them, in
    ``assets.extra/labels.txt``, the names of the classes where the model has some.

    Outputs: ``heatmap`` (B, H, W) float32 in [0, 1], ``label`` (B,) int64, ``score`` (B,) and
    ``logits`` (B, classes) float32, ``boxes`` (B, 4) int32 x0, y0, x1, y1, all inclusive
    (0, 0, -1, -1 where nothing was found). For files, heat maps are those of the frame that photos
    are resized to, boxes are in each photo's own pixels, ``mask_bytes`` (B,) holds the object
    as a PNG file of the photo's size, 255 inside, and ``label_name`` (B,) the name of the class.
    (By the ending ``_bytes`` TensorFlow Serving knows that its JSON must have it in base64.)

    As in `fcam_tf.photos`, transparency is composited onto white and EXIF orientation is applied:
    boxes and masks are those of the photo as a viewer shows it, not as its pixels are stored.

    A batch of another rank or number of channels, an empty one, an image that contains NaN or
    infinity, or a file that cannot be decoded, fails its request as an invalid argument.

    Args:
        model: an F-CAM, or a classifier as `fcam_tf.predict.Localizer` takes it.
        path: folder to make, such as ``serving/fcam/1``: below a model's folder TF Serving finds
            versions only by numbers. Another name is warned of.
        threshold: what counts as object; None as of `fcam_tf.predict.Localizer`.
        flip: whether heat maps are means of those of the images and of their mirror images. It
            doubles the cost.
        method: how heat maps are made, see `fcam_tf.explain.Explainer`.
        layer: what the method weights, see there.

    Returns:
        The folder, which appears whole.

    Raises:
        TypeError: ``model`` has no functional graph.
        FileExistsError: ``path`` exists.
        ValueError: unknown ``threshold``, ``method`` or ``layer``, or one that does not fit.
        OSError: it cannot be written.

    Examples:
        >>> folder = fcam_tf.export.export(model, "serving/fcam/1")
        >>> answer = tf.saved_model.load(str(folder)).signatures["serving_default"]
        >>> sorted(answer(tf.constant(images, "float32")))
        ['boxes', 'heatmap', 'label', 'logits', 'score']
    """
    path = Path(path)
    answers = Answers(Localizer(model, method, threshold, layer, flip=flip))
    write_saved_model(answers, path, path.resolve().parent.name)
    if not (path.name.isascii() and path.name.isdigit()):
        warnings.warn(
            f"TF Serving will not find {path}: a version's folder must be a number, such as "
            f"{path.with_name('1')}.",
            stacklevel=2,
        )
    return path


def write_saved_model(answers: Answers, path: Path, name: str) -> None:
    """Write a SavedModel as a folder, which appears whole; see `export`.

    Args:
        answers: what it answers.
        path: the folder.
        name: of the model, by which a server's clients ask for it.
    """
    archive = _archive(answers)
    with new_folder(path) as place:
        archive.write_out(str(place), verbose=False)
        _write_warmup(place / WARMUP, name, answers)
        if names := answers.localizer.class_names:
            (place / EXTRA / LABELS).write_text(label_lines(names), "utf-8")


def _archive(answers: Answers) -> keras.export.ExportArchive:
    """Return the model with its three signatures."""
    archive = keras.export.ExportArchive()
    archive.track(answers.localizer.classifier)
    for name, (function, spec) in answers.signatures().items():
        archive.add_endpoint(name, function, [spec])
    return archive


def _write_warmup(path: Path, name: str, answers: Answers) -> None:
    """Write requests as PredictionLogs of tensorflow_serving/apis, fields by their numbers."""
    sides = answers.sides
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
