"""``fcam export``: a model for TF Serving, LiteRT or ONNX runtimes."""

from __future__ import annotations

from pathlib import Path

from absl import app, flags

from fcam_tf.commands.command import Command
from fcam_tf.commands.model import check_model, define_import, load_model
from fcam_tf.commands.quiet import quiet_converters, quiet_tensorflow
from fcam_tf.commands.telling import console

_DETAILS = """\
MODEL is the name of a model in the zoo, a file saved as .keras, or the folder of a training run. It
must have a decoder. PATH is a folder to make, by TF Serving's convention a number below the model's
name, or a file that ends with .tflite (LiteRT) or .onnx (needs pip install 'fcam_tf[portable]').

The SavedModel holds core TensorFlow operations only, so that any server runs it. Signatures:
serving_default (images: float, any size), serve_uint8, serve_bytes (image_bytes: JPEG or PNG).
They give heatmap, label, score, logits and boxes; serve_bytes also mask_bytes, a PNG file of the
photo's size, and sees photos as fcam localize does: upright, transparency on white. A file gives
heatmap, label, score and logits, and leaves boxes to the application.

Examples:
  fcam export efficientnetlite_b0_cam serving/fcam/1
  fcam export runs/cub-fcam serving/birds/1 --threshold 0.1
  fcam export efficientnetlite_b0_cam fcam.tflite
  docker run -p 8501:8501 -v $PWD/serving/fcam:/models/fcam -e MODEL_NAME=fcam tensorflow/serving"""

_KINDS = {".tflite": "LiteRT model", ".onnx": "ONNX model"}


def _define(values: flags.FlagValues) -> None:
    define_import(values)
    flags.DEFINE_string(
        "threshold",
        None,
        "what counts as object: `otsu|0..1` of the map's maximum (default: the model's own)",
        flag_values=values,
    )


def _run(values: flags.FlagValues, arguments: list[str]) -> int:
    if len(arguments) != 2:
        raise app.UsageError("name a model and a folder or file")
    name, target = arguments
    check_model(name)
    with quiet_tensorflow():
        from fcam_tf.export import export  # noqa: PLC0415
        from fcam_tf.portable import FORMATS, export_file  # noqa: PLC0415
    notes = console(stderr=True)
    form = Path(target).suffix
    if form in FORMATS and values.threshold:
        raise app.UsageError(f"--threshold is for boxes, which a {form} file does not give")
    try:
        model = load_model(name)
        with quiet_converters():
            if form in FORMATS:
                path = export_file(model, target)
            else:
                path = export(model, target, threshold=values.threshold)
    except (TypeError, ValueError, FileExistsError, FileNotFoundError, ImportError) as error:
        raise app.UsageError(str(error)) from None
    except OSError as error:
        notes.print(f"fcam: {error}")
        return 1
    notes.print(f"{_KINDS.get(form, 'SavedModel')} in {path}")
    return 0


COMMAND = Command(
    usage="MODEL PATH [flags]",
    summary="write a model for TF Serving, LiteRT or ONNX",
    details=_DETAILS,
    define=_define,
    run=_run,
)
