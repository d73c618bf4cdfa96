"""Export to one file: LiteRT for phones and small devices, ONNX for any runtime of it."""

from __future__ import annotations

import warnings
from pathlib import Path

import keras
import numpy as np
from keras import ops

from fcam_tf import cams
from fcam_tf.atomic import replacing
from fcam_tf.models import FCAM
from fcam_tf.models.inference import maps_and_logits

FORMATS = {".tflite": "litert", ".onnx": "onnx"}


def export_file(model: FCAM, path: str | Path, *, flip: bool = False) -> Path:
    """Write a model as one file, of operations that LiteRT or ONNX knows.

    It takes ``images`` float32 RGB in [0, 255], and gives ``heatmap`` (B, H, W) float32 in [0, 1],
    ``label`` (B,) int32, ``score`` (B,) and ``logits`` (B, classes) float32. Boxes and masks are
    left to the application, see `fcam_tf.localization`. A ``.tflite`` file takes one image of the
    model's ``input_size``, an ``.onnx`` file (B, H, W, 3) of any size.

    Args:
        model: the F-CAM, in float32.
        path: file to write or replace; the ending chooses the format.
        flip: see `fcam_tf.export.export`.

    Returns:
        The file, which appears whole.

    Raises:
        TypeError: ``model`` is not an F-CAM.
        ValueError: the path has another ending.
        ImportError: ``.onnx`` without tf2onnx.
        OSError: it cannot be written.
    """
    if not isinstance(model, FCAM):
        raise TypeError(f"`model` must be an F-CAM, see `fcam train`. Received: {type(model)}.")
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f"`path` must end with {' or '.join(FORMATS)}. Received: {path}.")
    if path.suffix == ".onnx":
        try:
            import tf2onnx  # noqa: F401, PLC0415 - optional
        except ImportError:
            raise ImportError(
                "ONNX files are written by tf2onnx: pip install 'fcam_tf[portable]'"
            ) from None
    # LiteRT runs fixed shapes in fast kernels; others would need TensorFlow's own beside them.
    side = model.input_size if path.suffix == ".tflite" else None
    graph = _graph(model, side, flip=flip)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of converters, about their own dependencies
        graph.export(str(part), format=FORMATS[path.suffix], verbose=False)
    return path


def _graph(model: FCAM, side: int | None, *, flip: bool) -> keras.Model:
    fixed = [a or side for a in model.input_shape[1:3]]
    images = keras.Input((*fixed, 3), batch_size=1 if side else None, name="images")
    maps, logits = maps_and_logits(lambda x: model(x, training=False), images, flip=flip)
    # Not `argmax`: Keras looks for negative zeros in it, by an operation that LiteRT does not have.
    score, label = ops.top_k(cams.probabilities(logits, model.activation), 1)
    graph = keras.Model(
        images,
        {
            "heatmap": maps,
            "label": label[:, 0],
            "score": score[:, 0],
            "logits": logits,
        },
    )
    graph(np.zeros([1, *(a or 32 for a in fixed), 3], "float32"))  # Keras exports what has run
    return graph
