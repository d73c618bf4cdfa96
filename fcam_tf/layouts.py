"""The folders that servers look for models in: TensorFlow Serving's, and Triton's repository."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import keras

from fcam_tf.answers import LABELS, Answers, label_lines
from fcam_tf.atomic import new_folder, write_atomically
from fcam_tf.export import write_saved_model
from fcam_tf.names import lookup
from fcam_tf.portable import write_file
from fcam_tf.predict.localizer import Localizer

# Of Triton's two the platform, as its config.pbtxt has it, and the model's name in a version.
_PLATFORMS = {
    "triton": ("tensorflow_savedmodel", "model.savedmodel"),
    "triton-onnx": ("onnxruntime_onnx", "model.onnx"),
}
LAYOUTS = ("tfserving", *_PLATFORMS)
MOST = 8  # images in a batch that Triton puts together
DELAY = 5000  # microseconds that a request may wait for others


def export_layout(
    model: keras.Model,
    folder: str | Path,
    layout: str,
    *,
    threshold: str | float | None = None,
    flip: bool = False,
    method: str | None = None,
    layer: Any = None,
) -> Path:
    """Write a model as the next version in a server's folder for it.

    Args:
        model: see `fcam_tf.export.export`, as for ``threshold`` and what follows.
        folder: of the model; its name is the model's. Made where there is none.
        layout: "tfserving" (folder/1), or "triton" (a SavedModel) or "triton-onnx" (an ONNX file)
            for a repository of Triton, folder/1/model.* and folder/config.pbtxt.
        threshold: see there.
        flip: see there.
        method: see there.
        layer: see there.

    Returns:
        The version's folder, which appears whole, after the files that describe it.

    Raises:
        ValueError: unknown ``layout``; else see `fcam_tf.export.export` and
            `fcam_tf.portable.export_file`.
        OSError: it cannot be written.
    """
    lookup(dict.fromkeys(LAYOUTS), layout, "layout")
    folder = Path(folder)
    name, version = folder.resolve().name, next_version(folder)
    answers = Answers(Localizer(model, method, threshold, layer, flip=flip))
    if layout == "tfserving":
        write_saved_model(answers, version, name)
        return version
    platform, file = _PLATFORMS[layout]
    with new_folder(version) as place:
        if layout == "triton":
            write_saved_model(answers, place / file, name)
            shutil.rmtree(place / file / "assets.extra")  # warm-up and labels are Triton's own here
        else:
            write_file(answers, place / file)
        if names := answers.localizer.class_names:
            write_atomically(folder / LABELS, label_lines(names).encode())
        config = triton_config(answers, name, platform, with_mask=layout == "triton-onnx")
        write_atomically(folder / "config.pbtxt", config.encode())
    return version


def next_version(folder: Path) -> Path:
    """Return the folder of the version after the last one, 1 where there is none."""
    names = [path.name for path in folder.glob("*") if path.is_dir()]
    numbers = [int(name) for name in names if name.isascii() and name.isdigit()]
    return folder / str(1 + max(numbers, default=0))


def triton_config(answers: Answers, name: str, platform: str, *, with_mask: bool) -> str:
    """Return a model's config.pbtxt, a ModelConfig of Triton's model_config.proto in text format.

    Sizes are those of one image, without the batch; a value for each image is of none, which Triton
    has as the reshaped [1].
    """
    height, width = (side or -1 for side in answers.shape)
    scalar = "dims: [ 1 ] reshape: { shape: [ ] }"
    named = f' label_filename: "{LABELS}"' if answers.localizer.class_names else ""
    outputs = {
        "heatmap": f"TYPE_FP32 dims: [ {height}, {width} ]",
        "label": f"TYPE_INT64 {scalar}",
        "score": f"TYPE_FP32 {scalar}",
        "logits": f"TYPE_FP32 dims: [ {answers.localizer.num_classes} ]{named}",
        "boxes": "TYPE_INT32 dims: [ 4 ]",
    }
    if with_mask:
        outputs["mask"] = f"TYPE_BOOL dims: [ {height}, {width} ]"
    lines = [
        f"name: {json.dumps(name)}",
        f'platform: "{platform}"',
        f"max_batch_size: {MOST}",
        f"dynamic_batching {{ max_queue_delay_microseconds: {DELAY} }}",
        f'input {{ name: "images" data_type: TYPE_FP32 dims: [ {height}, {width}, 3 ] }}',
        *(f'output {{ name: "{key}" data_type: {kind} }}' for key, kind in outputs.items()),
    ]
    return "\n".join(lines) + "\n"
