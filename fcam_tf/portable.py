"""Export to one file: LiteRT for phones and small devices, ONNX for any runtime of it."""

from __future__ import annotations

import json
import re
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from fcam_tf.answers import LABELS, Answers, label_lines
from fcam_tf.atomic import remove_leftovers, replacing
from fcam_tf.graphs import regions
from fcam_tf.predict.localizer import Localizer

ENDINGS = (".tflite", ".onnx")
_OPSET = 16  # of ONNX, the first that adds up what it scatters


def export_file(
    model: keras.Model,
    path: str | Path,
    *,
    threshold: str | float | None = None,
    flip: bool = False,
    method: str | None = None,
    layer: Any = None,
) -> Path:
    """Write a model as one file, of operations that LiteRT or ONNX knows.

    It takes ``images`` float32 RGB in [0, 255], and gives ``heatmap`` (B, H, W) float32 in [0, 1],
    ``label`` (B,) int64, ``score`` (B,) and ``logits`` (B, classes) float32, ``boxes`` (B, 4) int32
    as `fcam_tf.export.export` does, and ``mask`` (B, H, W) bool. A ``.tflite`` file takes one image
    of the size that photos are resized to, an ``.onnx`` file (B, H, W, 3) of any size.

    Names of classes are in the file: in a ``.tflite`` file as ``labels.txt``, one a line, in a zip
    archive at its end, where LiteRT's metadata have such files; in an ``.onnx`` file as its
    property "names", JSON such as ``{"0": "cat"}``.

    LiteRT has no float64: there "otsu" may take the level beside that of the other formats.

    Args:
        model: an F-CAM in float32, or a classifier whose map follows without gradients: under a
            linear head that of all methods that weight the last map, such as "cam".
        path: file to write or replace; the ending chooses the format.
        threshold: see `fcam_tf.export.export`, as for what follows.
        flip: see there.
        method: see there.
        layer: see there.

    Returns:
        The file, which appears whole.

    Raises:
        TypeError: ``model`` has no functional graph.
        ValueError: the path has another ending, an argument does not fit, or the maps need what
            the format does not have.
        ImportError: ``.onnx`` without tf2onnx.
        OSError: it cannot be written.

    Examples:
        >>> from fcam_tf.portable import export_file
        >>> file = export_file(model, "fcam.tflite")
        >>> file.read_bytes()[4:8]
        b'TFL3'
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise ValueError(f"`path` must end with {' or '.join(ENDINGS)}. Received: {path}.")
    if path.suffix == ".onnx":
        try:
            import tf2onnx  # noqa: F401, PLC0415 - optional
        except ImportError:
            raise ImportError(
                "ONNX files are written by tf2onnx: pip install 'fcam_tf[portable]'"
            ) from None
    answers = Answers(Localizer(model, method, threshold, layer, flip=flip))
    write_file(answers, path)
    return path


def write_file(answers: Answers, path: Path) -> None:
    """Write a ``.tflite`` or ``.onnx`` file; see `export_file`."""
    write = _write_litert if path.suffix == ".tflite" else _write_onnx
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    with replacing(path) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of converters, about their own dependencies
        write(answers, part)


def _write_litert(answers: Answers, path: Path) -> None:
    # LiteRT runs fixed shapes in fast kernels; others would need TensorFlow's own beside them.
    spec = tf.TensorSpec((1, *answers.sides, 3), tf.float32, "images")
    function = _answering(answers, regions.LITERT)
    _refuse_gradients(answers, function, spec)
    archive = keras.export.ExportArchive()
    archive.track(answers.localizer.classifier)
    archive.add_endpoint("serving_default", function, [spec])
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        try:
            content = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
        except Exception as error:  # noqa: BLE001 - the converter's own are private
            lacking = re.search(r"Select ops: (.*)", str(error))
            raise _lacking(answers, "LiteRT", lacking[1] if lacking else str(error)) from None
    path.write_bytes(content)
    if names := answers.localizer.class_names:
        with zipfile.ZipFile(path, "a") as archive_of_labels:
            archive_of_labels.writestr(LABELS, label_lines(names))


def _write_onnx(answers: Answers, path: Path) -> None:
    import onnx  # noqa: PLC0415 - optional
    import tf2onnx  # noqa: PLC0415
    from keras.src.export.tf2onnx_lib import patch_tf2onnx  # noqa: PLC0415

    spec = tf.TensorSpec((None, *answers.shape, 3), tf.float32, "images")
    function = tf.function(_answering(answers, regions.ONNX), [spec], autograph=False)
    _refuse_gradients(answers, function, spec)
    patch_tf2onnx()  # which knows an older numpy
    model, _ = tf2onnx.convert.from_function(function, [spec], opset=_OPSET)
    (version,) = [x.version for x in model.opset_import if x.domain == ""]
    used = {node.op_type for node in model.graph.node}
    if unknown := sorted(name for name in used if not onnx.defs.has(name, version)):
        raise _lacking(answers, "ONNX", ", ".join(unknown))
    if names := answers.localizer.class_names:
        labels = {str(n): name for n, name in enumerate(names)}
        onnx.helper.set_model_props(model, {"names": json.dumps(labels, ensure_ascii=False)})
    path.write_bytes(model.SerializeToString())


def _answering(answers: Answers, engine: regions.Engine) -> Callable[[Any], dict[str, Any]]:
    def answer(images: Any) -> dict[str, Any]:
        found = answers.localize(images)
        masks = answers.masks(found["heatmap"], engine)
        return {**found, "boxes": regions.boxes_of(masks), "mask": masks}

    return answer


def _refuse_gradients(answers: Answers, function: Callable[..., Any], spec: tf.TensorSpec) -> None:
    """Refuse before the conversion, which takes long, what it cannot end with."""
    graph = tf.function(function, autograph=False).get_concrete_function(spec).graph.as_graph_def()
    nodes = [graph.node, *(inner.node_def for inner in graph.library.function)]
    if any("gradient_tape" in node.name for part in nodes for node in part):
        raise _lacking(answers, "LiteRT and ONNX", "gradients")


def _lacking(answers: Answers, form: str, what: str) -> ValueError:
    return ValueError(
        f"`method` {answers.localizer.told} needs what {form} does not have: {what}. Export a "
        "SavedModel, or give a method that needs one pass, such as 'cam' of a linear head."
    )
