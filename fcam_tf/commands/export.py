"""``fcam export``: a model for TF Serving."""

from __future__ import annotations

from absl import app, flags

from fcam_tf.commands.command import Command
from fcam_tf.commands.model import check_model, load_model
from fcam_tf.commands.quiet import quiet_tensorflow
from fcam_tf.commands.telling import console

_DETAILS = """\
MODEL is the name of a model in the zoo, a file saved as .keras, or the folder of a training run. It
must have a decoder. FOLDER is made, by TF Serving's convention a number below the model's name.

The SavedModel holds core TensorFlow operations only, so that any server runs it. Signatures:
serving_default (images: float, any size), serve_uint8, serve_bytes (image_bytes: JPEG or PNG).
They give heatmap, label, score, logits and boxes; serve_bytes also mask_bytes, a PNG file of the
photo's size.

Examples:
  fcam export efficientnetlite_b0_cam serving/fcam/1
  fcam export runs/cub-fcam serving/birds/1 --threshold 0.1
  docker run -p 8501:8501 -v $PWD/serving/fcam:/models/fcam -e MODEL_NAME=fcam tensorflow/serving"""


def _define(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "threshold",
        None,
        "what counts as object: `otsu|0..1` of the map's maximum (default: the model's own)",
        flag_values=values,
    )


def _run(values: flags.FlagValues, arguments: list[str]) -> int:
    if len(arguments) != 2:
        raise app.UsageError("name a model and a folder")
    name, folder = arguments
    check_model(name)
    with quiet_tensorflow():
        from fcam_tf.export import export  # noqa: PLC0415
    notes = console(stderr=True)
    try:
        path = export(load_model(name), folder, threshold=values.threshold)
    except (TypeError, ValueError, FileExistsError, FileNotFoundError) as error:
        raise app.UsageError(str(error)) from None
    except OSError as error:
        notes.print(f"fcam: {error}")
        return 1
    notes.print(f"SavedModel in {path}")
    return 0


COMMAND = Command(
    usage="MODEL FOLDER [flags]",
    summary="write a model for TF Serving",
    details=_DETAILS,
    define=_define,
    run=_run,
)
