"""``fcam export``: a model for TF Serving, Triton, LiteRT or ONNX runtimes."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from absl import app

import fcam_tf
from fcam_tf.commands.arguments import Parser, add_answers, add_import, answer_options
from fcam_tf.commands.model import complete_model, find_model
from fcam_tf.commands.quiet import quiet_converters
from fcam_tf.commands.telling import note, usage_errors

_DETAILS = """\
MODEL is the name of a model in the zoo or of a pretrained classifier, a file saved as .keras, or
the folder of a training run. PATH is a folder to create (for TF Serving, a number below the model's
name), or a file that ends with .tflite (LiteRT) or .onnx (needs pip install 'fcam_tf[portable]').
With --layout, PATH is the model's folder, and the next version is written there.

The SavedModel holds core TensorFlow operations only, so that any server runs it. Signatures:
serving_default (images: float, any size), serve_uint8, serve_bytes (image_bytes: JPEG or PNG).
They give heatmap, label, score, logits and boxes; serve_bytes also label_name and mask_bytes, a PNG
file of the photo's size, and reads photos as fcam localize does: upright, transparency on white. A
.tflite or .onnx file gives heatmap, label, score, logits, boxes and mask. The names of the classes
are stored with the model."""
_EXAMPLES = """\
Examples:
  fcam export efficientnetlite_b0_layercam serving/fcam/1
  fcam export runs/cub-fcam repository/birds --layout triton-onnx --threshold 0.1
  fcam export efficientnetlite_b0_layercam fcam.tflite
  fcam export efficientnetlite_b0 imagenet.onnx --method cam
  docker run -p 8501:8501 -v $PWD/serving/fcam:/models/fcam -e MODEL_NAME=fcam tensorflow/serving"""

_KINDS = {".tflite": "LiteRT model", ".onnx": "ONNX model"}


def add_to(fcam: Parser) -> None:
    """Add ``fcam export``."""
    summary = "write a model for TF Serving, Triton, LiteRT or ONNX"
    parser = fcam.command(
        "export", "MODEL PATH [flags]", summary, details=_DETAILS, examples=_EXAMPLES, run=_run
    )
    parser.add("model MODEL", "what to write", completer=complete_model)
    parser.add("path PATH", "folder or file to write")
    add_answers(parser)
    parser.add(
        "--layout LAYOUT",
        "write the next version into a server's folder of the model: %(choices)s (triton is with a "
        "SavedModel, which Triton does not take from release 25.03 on; triton-onnx is with ONNX)",
        choices=("tfserving", "triton", "triton-onnx"),
    )
    add_import(parser)


def _run(values: argparse.Namespace) -> int:
    model, write = find_model(values.model), _writer(values)
    kinds = (TypeError, ValueError, FileExistsError, FileNotFoundError, ImportError)
    with usage_errors(*kinds), quiet_converters(f"Writing {values.path}"):
        path = write(model.load(), **answer_options(values))
    kind = _KINDS.get(path.suffix, "SavedModel")
    note(f"{f'{values.layout} version' if values.layout else kind} in {path}")
    return 0


def _writer(values: argparse.Namespace) -> Any:
    """Return what writes a model where and as the arguments say, before anything is loaded."""
    path, layout = values.path, values.layout
    ending = Path(path).suffix
    if not path:  # such as of a shell's variable that is not set
        raise app.UsageError("PATH is empty; give a folder or a file to write")
    if layout and ending in _KINDS:
        raise app.UsageError(f"--layout {layout} needs a folder. Received: {path}")
    if re.match(r"\.[a-zA-Z]", ending) and ending not in _KINDS:
        raise app.UsageError(
            f"{path} has an ending of no known format. Available: {', '.join(_KINDS)}; a "
            "SavedModel is a folder, such as serving/fcam/1"
        )
    if Path(path).name in _KINDS:  # which Python takes for a name without an ending
        raise app.UsageError(
            f"{path} is only an ending; give a name, such as model{Path(path).name}"
        )
    _check_target(path, layout)

    def write(model: Any, **options: Any) -> Path:
        if layout:
            from fcam_tf.layouts import export_layout  # noqa: PLC0415 - TensorFlow

            return export_layout(model, path, layout, **options)
        if ending in _KINDS:
            from fcam_tf.portable import export_file  # noqa: PLC0415

            return export_file(model, path, **options)
        return fcam_tf.export.export(model, path, **options)

    return write


def _check_target(path: str, layout: str | None) -> None:
    """Refuse a place that cannot be written to before the conversion, which takes long."""
    ending = Path(path).suffix
    if ending in _KINDS and Path(path).is_dir():
        raise app.UsageError(f"{path} is a folder; give the name of a file")
    if not layout and ending not in _KINDS and Path(path).exists():
        raise app.UsageError(f"{path} exists; give a new folder or remove it")
    places = [Path(path), *Path(path).parents] if layout else Path(path).parents
    above = next((each for each in places if each.exists()), Path())
    if not above.is_dir():
        raise app.UsageError(f"{above} is a file, and {path} needs a folder there")
