"""Trains both stages from packs under JAX, for a machine with a GPU and without TensorFlow.

    KERAS_BACKEND=jax PYTHONPATH=. python tools/gpu_training.py --backbone resnet50 \
        --packs .gpu/tiny100-0.xz,.gpu/tiny100-1.xz --graphs .gpu --out runs/resnet50

tools/gpu_packs.py makes the packs. Photos lie in the GPU's memory as bytes, and are cropped and
mixed there. Stages, each of which is skipped where its file is in --out already:

1. classifier.h5: the classifier at stride 32, from scratch, from labels and a teacher's logits.
2. tuned.h5: the same, fine-tuned at the stride at which it is used.
3. METHOD.h5 for each of --methods: decoders behind it.

scores.json gets the scores of the val and test splits in percent, log.csv the losses.
"""

from __future__ import annotations

import csv
import json
import math
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import keras
import numpy as np
from absl import app, flags
from gpu_crops import cut, mix, random_boxes, whole
from gpu_maps import apply, maps_of, maps_of_decoder, score
from gpu_trainer import Trainer
from packs import Images, read_pack

from fcam_tf import models
from fcam_tf.losses import FCAMLoss
from fcam_tf.optimizer import CoupledAdam, CoupledSGD
from fcam_tf.zoo.weights import read_weights, write_weights

_PACKS = flags.DEFINE_list("packs", None, "packs to train on and to score", required=True)
_GRAPHS = flags.DEFINE_string("graphs", None, "folder of the graphs of keras-cv, if it is missing")
_OUT = flags.DEFINE_string("out", None, "folder of the results", required=True)
_BACKBONE = flags.DEFINE_string("backbone", "resnet50", "name of the backbone")
_METHODS = flags.DEFINE_list("methods", ["layercam"], "methods that teach decoders")
_TEACHER = flags.DEFINE_string("teacher", None, "ImageNet weights of efficientnetlite_b0, if any")
_TEACHER_SIZE = flags.DEFINE_integer("teacher_size", 224, "side that the teacher sees, in pixels")
_SIDE = flags.DEFINE_integer("side", 64, "side at which photos are kept, in pixels")
_SIZE = flags.DEFINE_integer("size", 128, "side that the networks see and maps are scored at")
_BATCH = flags.DEFINE_integer("batch_size", 256, "images in a step")
_OPTIMIZER = flags.DEFINE_enum("optimizer", "sgd", ["adam", "sgd"], "of the classifier")
_RATE = flags.DEFINE_float("learning_rate", 0.2, "of the classifier, at its highest")
_TUNE_RATE = flags.DEFINE_float("tune_rate", 0.03, "of the fine-tuning, at its highest")
_DECAY = flags.DEFINE_float("weight_decay", 3e-4, "coupled L2 of the classifier")
_EPOCHS = flags.DEFINE_list("epochs", ["30", "6", "3"], "of the three stages")
_STEPS = flags.DEFINE_integer("steps", None, "of each stage at most: for rehearsals")
_CRF = flags.DEFINE_float("crf", 1.4e-7, "weight of the exact CRF at half the resolution")
_LIMIT = flags.DEFINE_integer("limit", None, "images of each split; None for all")

_SMOOTHING = 0.1
_OF_TEACHER = 0.7  # share of the teacher in the targets
_SCALES = (1.0, 1.5, 2.0)  # of the images whose maps teach decoders
_DECODER_BATCH = 64
_CHECKS = 4  # how often val is scored while a decoder is trained


def _classifier(classes: int, names: Any, stride: int | None = None) -> models.Classifier:
    keras.utils.set_random_seed(0)
    model = models.Classifier(
        _BACKBONE.value,
        classes,
        output_stride=stride,
        weights=None,
        class_names=names,
        input_size=_SIZE.value,
        dtype="mixed_bfloat16",
    )
    first = True
    for layer in model.layers:
        # Without batch normalisation, signals keep their size only from He's initialisation on, and
        # from inputs of unit variance.
        if _BACKBONE.value == "vgg16" and isinstance(layer, keras.layers.Conv2D):
            kernel = keras.initializers.HeNormal(0)(layer.kernel.shape)
            layer.kernel.assign(kernel / 64 if first else kernel)
            first = False
    return model


def _teacher(names: list[str]) -> Callable[[Any], Any] | None:
    """Return the probabilities that ImageNet's classifier gives to the classes."""
    if _TEACHER.value is None:
        return None
    imagenet = models.Classifier.imagenet_class_names()
    # Tiny ImageNet has the first of the synonyms; "crane" and the like are both birds and machines.
    columns = np.array(
        [
            imagenet.index(name)
            if name in imagenet
            else [known.split(",")[0] for known in imagenet].index(name)
            for name in names
        ]
    )
    model = models.Classifier(
        "efficientnetlite_b0", 1000, weights=None, class_names=imagenet, dtype="mixed_bfloat16"
    )
    read_weights(model, _TEACHER.value)
    return lambda images: jax.nn.softmax(
        model(whole(images, _TEACHER_SIZE.value), training=False)[:, columns]
    )


def _train_classifier(
    model: models.Classifier, train: Images, names: list[str], epochs: float, rate: float
) -> list[dict[str, Any]]:
    pixels, labels = jnp.asarray(train.pixels), jnp.asarray(train.labels)
    teacher = _teacher(names)

    @jax.jit
    def batch(key: Any, images: Any, labels: Any) -> tuple[Any, Any]:
        keys = jax.random.split(key, 3)
        boxes = random_boxes(keys[0], len(images), 0.3, _SIDE.value)
        x = cut(images, boxes, jax.random.bernoulli(keys[1], 0.5, (len(images),)), _SIZE.value)
        y = jax.nn.one_hot(labels, len(names)) * (1 - _SMOOTHING) + _SMOOTHING / len(names)
        x, y = mix(keys[2], x, y)
        if teacher:
            y = y + _OF_TEACHER * (teacher(x) - y)
        return x, y

    kind = {"adam": CoupledAdam, "sgd": CoupledSGD}[_OPTIMIZER.value]
    model.compile(
        kind(rate, l2=_DECAY.value, global_clipnorm=2.0),
        keras.losses.CategoricalCrossentropy(from_logits=True),
    )
    draw = lambda key, rows: batch(key, pixels[rows], labels[rows])  # noqa: E731
    trainer = Trainer(
        model,
        draw,
        count=len(train),
        batch_size=_BATCH.value,
        epochs=epochs,
        rate=rate,
        most=_STEPS.value,
    )
    for _ in trainer.run():
        pass
    return trainer.log


def _train_decoder(
    classifier: models.Classifier, splits: dict[str, Images], method: str, path: Path
) -> dict[str, Any]:
    train, val = splits["train"], splits["val"]
    candidates = [method] + ["layercam+"] * (method == "layercam")
    teachers = {name: maps_of(classifier, name, _SCALES) for name in candidates}
    scores = {f"teacher {name}": score(maps, val, _SIZE.value) for name, maps in teachers.items()}
    best = max(candidates, key=lambda name: scores[f"teacher {name}"]["MaxBoxAccV2"])
    coarse = jnp.asarray(apply(teachers[best], train, np.float16)[0])
    print("taught by", best, scores, flush=True)
    model = models.FCAM.from_classifier(classifier, method=method)
    loss = {"positives": 5, "negatives": 5, "negative_fraction": 0.3, "crf": _CRF.value}
    loss |= {"crf_scale": 0.5, "crf_method": "exact", "windows": {"crf": (2, None)}}
    model.compile(CoupledAdam(1e-3, l2=1e-4), FCAMLoss(**loss))
    pixels, labels = jnp.asarray(train.pixels), jnp.asarray(train.labels)

    @jax.jit
    def batch(key: Any, images: Any, maps: Any, labels: Any) -> tuple[Any, Any]:
        keys = jax.random.split(key, 2)
        boxes = random_boxes(keys[0], len(images), 0.5, _SIDE.value)
        mirrored = jax.random.bernoulli(keys[1], 0.5, (len(images),))
        part = cut(maps[..., None], boxes * (maps.shape[1] / _SIDE.value), mirrored, _SIZE.value)
        x = cut(images, boxes, mirrored, _SIZE.value)
        return x, {"label": labels, "cam": part[..., 0]}

    draw = lambda key, rows: batch(key, pixels[rows], coarse[rows], labels[rows])  # noqa: E731
    epochs = float(_EPOCHS.value[2])
    trainer = Trainer(
        model,
        draw,
        count=len(train),
        batch_size=_DECODER_BATCH,
        epochs=epochs,
        rate=1e-3,
        most=_STEPS.value,
    )
    due = max(1, trainer.steps // _CHECKS)
    maps, kept = maps_of_decoder(model), -math.inf
    for step in trainer.run(lambda number: (number + 1) % due == 0):
        found = score(maps, val, _SIZE.value)
        scores[f"val, step {step + 1}"] = found
        print(method, step + 1, found, flush=True)
        if found["MaxBoxAccV2"] > kept:
            kept = found["MaxBoxAccV2"]
            write_weights(model, path.with_suffix(".part"), int8=True)
    path.with_suffix(".part").replace(path)
    read_weights(model, path)
    return scores | {
        "taught by": best,
        "test": score(maps, splits["test"], _SIZE.value),
        "log": trainer.log,
    }


class Stages:
    """The stages of a backbone, and what they found; those that are done are read."""

    def __init__(self, out: Path, splits: dict[str, Images], names: list[str]) -> None:
        self.out, self.splits, self.names = out, splits, names
        results = out / "scores.json"
        self.scores = json.loads(results.read_text()) if results.exists() else {}

    def run(self) -> None:
        if not (self.out / "tuned.h5").exists():
            self._classifier("classifier", 32, None)
        model = self._classifier("tuned", None, self.out / "classifier.h5")
        for method in _METHODS.value:
            path = self.out / f"{method}.h5"
            if not path.exists():
                self._keep(method, _train_decoder(model, self.splits, method, path))
        if "test" not in self.scores:
            maps = {name: maps_of(model, name) for name in ("cam", "layercam", "layercam+")}
            test = self.splits["test"]
            self._keep(
                "test", {name: score(found, test, _SIZE.value) for name, found in maps.items()}
            )

    def _classifier(self, stage: str, stride: int | None, start: Path | None) -> models.Classifier:
        model = _classifier(len(self.names), self.names, stride)
        path = self.out / f"{stage}.h5"
        if path.exists():
            read_weights(model, path)
            return model
        if start:
            read_weights(model, start)
        epochs = float(_EPOCHS.value[1 if start else 0])
        rate = _TUNE_RATE.value if start else _RATE.value
        log = _train_classifier(model, self.splits["train"], self.names, epochs, rate)
        write_weights(model, self.out / "part.h5")
        (self.out / "part.h5").replace(path)
        self._keep(
            stage,
            {"val": score(maps_of(model, "cam"), self.splits["val"], _SIZE.value), "log": log},
        )
        return model

    def _keep(self, stage: str, found: dict[str, Any]) -> None:
        for row in found.pop("log", ()):
            with (self.out / "log.csv").open("a", newline="") as file:
                csv.writer(file).writerow([stage, *row.values()])
        self.scores[stage] = {**found, "command": " ".join(sys.argv)}
        (self.out / "scores.json").write_text(json.dumps(self.scores, indent=1))
        print(stage, found, flush=True)


def _use_graphs(folder: Path) -> None:
    """Put graphs that keras-cv built elsewhere in its place: it insists on TensorFlow."""
    families = types.SimpleNamespace()
    for path in folder.glob("*.json"):
        backbone, kind, _ = path.name.split(".")
        if backbone in (_BACKBONE.value, "efficientnetlite_b0"):
            build = lambda path=path, **_: keras.models.model_from_json(path.read_text())  # noqa: E731
            setattr(families, kind, build)
    sys.modules["keras_cv"] = types.SimpleNamespace(models=families)


def main(argv: list[str]) -> None:
    """Run the stages that are missing."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    if _GRAPHS.value:
        _use_graphs(Path(_GRAPHS.value))
    out = Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    packs = [read_pack(path) for path in _PACKS.value]
    names = [str(name) for pack in packs for name in pack.get("class_names", ())]
    splits = {
        name: Images(packs, name, _SIDE.value, len(names), _LIMIT.value)
        for name in ("train", "val", "test")
    }
    print({name: len(split) for name, split in splits.items()}, flush=True)
    Stages(out, splits, names).run()


if __name__ == "__main__":
    app.run(main)
