"""``fcam export``: a model for TF Serving, LiteRT or ONNX runtimes."""

from __future__ import annotations

import argparse
from pathlib import Path

from absl import app

import fcam_tf
from fcam_tf.commands.arguments import Parser, add_import
from fcam_tf.commands.model import complete_model, find_model
from fcam_tf.commands.quiet import quiet_converters
from fcam_tf.commands.telling import note, usage_errors

_DETAILS = """\
MODEL is the name of a model in the zoo, a file saved as .keras, or the folder of a training run. It
must have a decoder. PATH is a folder to make, by TF Serving's convention a number below the model's
name, or a file that ends with .tflite (LiteRT) or .onnx (needs pip install 'fcam_tf[portable]').

The SavedModel holds core TensorFlow operations only, so that any server runs it. Signatures:
serving_default (images: float, any size), serve_uint8, serve_bytes (image_bytes: JPEG or PNG).
They give heatmap, label, score, logits and boxes; serve_bytes also mask_bytes, a PNG file of the
photo's size, and sees photos as fcam localize does: upright, transparency on white. A file gives
heatmap, label, score and logits, and leaves boxes to the application."""
_EXAMPLES = """\
Examples:
  fcam export efficientnetlite_b0_layercam serving/fcam/1
  fcam export runs/cub-fcam serving/birds/1 --threshold 0.1
  fcam export efficientnetlite_b0_layercam fcam.tflite
  docker run -p 8501:8501 -v $PWD/serving/fcam:/models/fcam -e MODEL_NAME=fcam tensorflow/serving"""

_KINDS = {".tflite": "LiteRT model", ".onnx": "ONNX model"}


def add_to(fcam: Parser) -> None:
    """Add ``fcam export``."""
    summary = "write a model for TF Serving, LiteRT or ONNX"
    parser = fcam.command(
        "export", "MODEL PATH [flags]", summary, details=_DETAILS, examples=_EXAMPLES, run=_run
    )
    parser.add("model MODEL", "what to write", completer=complete_model)
    parser.add("path PATH", "folder or file to write")
    parser.add(
        "-t --threshold otsu|0..1",
        "what counts as object, as a fraction of the map's maximum (default: the model's own)",
    )
    parser.add(
        "--flip",
        "heat maps are means of those of an image and its mirror image, in about twice the time",
    )
    add_import(parser)


def _run(values: argparse.Namespace) -> int:
    model, form = find_model(values.model), Path(values.path).suffix
    if form in _KINDS and values.threshold:
        raise app.UsageError(f"--threshold is for boxes, which a {form} file does not give")
    kinds = (TypeError, ValueError, FileExistsError, FileNotFoundError, ImportError)
    with usage_errors(*kinds), quiet_converters():
        from fcam_tf.portable import export_file  # noqa: PLC0415

        if form in _KINDS:
            path = export_file(model.load(), values.path, flip=values.flip)
        else:
            path = fcam_tf.export.export(
                model.load(), values.path, threshold=values.threshold, flip=values.flip
            )
    note(f"{_KINDS.get(form, 'SavedModel')} in {path}")
    return 0
