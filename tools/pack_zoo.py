"""Makes a zoo entry of a training run, and measures it as it will be loaded.

    python tools/pack_zoo.py --run runs/general/cam --name efficientnetlite_b0_cam \
        --val ../shared/data/pets3 --test ../shared/data/pets3,../shared/data/tiny10 \
        --trained_on "..." --command "python tools/train_general.py ..."
    python tools/pack_zoo.py --weights runs/resnet50_layercam/model.weights.h5 --size 112 \
        --name resnet50_layercam --val tiny100 ...    # what tools/gpu_training.py wrote

The threshold is the one by which most boxes of the val split are right. It and the scores of the
card are those of the model as it will be loaded, after its weights were rounded.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

_RUN = flags.DEFINE_string("run", None, "folder of the training run")
_WEIGHTS = flags.DEFINE_string("weights", None, "weights file, where there is no run")
_SIZE = flags.DEFINE_integer("size", 224, "side at which the model of --weights was trained")
_RECIPE = flags.DEFINE_string("recipe", "{}", "JSON, how the model of --weights was trained")
_NAME = flags.DEFINE_string("name", None, "name of the entry", required=True)
_VAL = flags.DEFINE_string("val", None, "data set whose val split chooses", required=True)
_TEST = flags.DEFINE_list("test", [], "data sets whose test splits are measured")
_ZOO = flags.DEFINE_string("zoo", "zoo", "folder of the zoo")
_TRAINED_ON = flags.DEFINE_string("trained_on", None, "in a sentence", required=True)
_LICENCE = flags.DEFINE_string("licence", "Apache-2.0", "of the weights")
_COMMAND = flags.DEFINE_string("command", None, "that trained it", required=True)
_INT8 = flags.DEFINE_boolean("int8", True, "large kernels in 8 bits")


def _trained() -> tuple[Any, dict[str, Any]]:
    """Return the model and the recipe it was trained with."""
    from fcam_tf import data, models  # noqa: PLC0415 - after the flags were read
    from fcam_tf.zoo.weights import read_weights  # noqa: PLC0415

    if _RUN.value:
        settings = json.loads(Path(_RUN.value, "run.json").read_text())["settings"]
        return models.load(_RUN.value), settings["recipe"]
    backbone, method = _NAME.value.partition(".")[0].rsplit("_", 1)
    names = data.load(_VAL.value, "val").class_names
    classifier = models.Classifier(
        backbone, len(names), weights=None, class_names=names, input_size=_SIZE.value
    )
    model = models.FCAM.from_classifier(classifier, method=method)
    read_weights(model, _WEIGHTS.value)
    return model, json.loads(_RECIPE.value)


def main(argv: list[str]) -> None:
    """Write the entry."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    if bool(_RUN.value) == bool(_WEIGHTS.value):
        raise app.UsageError("give either --run or --weights")
    from fcam_tf import data, training, zoo  # noqa: PLC0415
    from fcam_tf.zoo.threshold import best_threshold  # noqa: PLC0415

    name = _NAME.value
    trained, recipe = _trained()
    model = zoo.as_stored(trained, int8=_INT8.value)
    trained.threshold = best_threshold(model, data.load(_VAL.value, "val"))
    scores = []
    for root in _TEST.value:
        split = data.load(root, "test")
        known = training.knows_classes(model, split)
        found = training.Validation(split, model.input_size)(model.maps_and_logits, known)
        scores += [
            {
                "data": Path(root).name,
                "split": "test",
                "metric": metric,
                "value": round(float(np.float64(value)), 2),
                "command": _COMMAND.value,
            }
            for metric, value in found.items()
        ]
    folder = Path(_ZOO.value) / name
    with tempfile.TemporaryDirectory(dir=_ZOO.value, prefix=".") as aside:
        made = zoo.save(
            trained,
            name,
            aside,
            scores=scores,
            trained_on=_TRAINED_ON.value,
            licence=_LICENCE.value,
            recipe=recipe,
            int8=_INT8.value,
        )
        # The entry before stays until there is another.
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    card = zoo.read_card(folder / "card.json")
    size = card["weights"]["bytes"] / 2**20
    print(name, f"{size:.1f} MiB", {(s["data"], s["metric"]): s["value"] for s in scores})


if __name__ == "__main__":
    app.run(main)
