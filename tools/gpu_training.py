"""Trains both stages under JAX with photos in the GPU's memory, on a machine without TensorFlow.

    KERAS_BACKEND=jax PYTHONPATH=. python tools/gpu_training.py --data tiny100 --graphs graphs \
        --backbone resnet50 --out runs/resnet50

Stages, each a training run in a folder of its own, which goes on where it was stopped, and at its
end the weights of its best epoch on val; a stage with weights is skipped:

1. classifier.safetensors: the classifier at stride 32, from scratch, from labels and a teacher's
   logits.
2. tuned.safetensors: the same, fine-tuned at the stride at which it is used.
3. zoo/BACKBONE_METHOD for each of --methods: decoders behind it, as entries of a zoo that say how
   they were trained, without scores.

Learning rates rise for a twentieth of a stage and fall to 0 by a cosine; of a recipe's schedule,
resizing and head_ratio nothing is used. scores.json gets the scores on val and test, in percent.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import gpu_graphs
import jax
import jax.numpy as jnp
import keras
import numpy as np
from absl import flags
from common import start
from gpu_batches import Batches, Draw, labelled, mapped
from gpu_maps import Photos, maps_of

from fcam_tf import models, training, zoo
from fcam_tf.claim import read_settings
from fcam_tf.evaluation import FRAME
from fcam_tf.graphs.resize import resize
from fcam_tf.losses import FCAMLoss
from fcam_tf.optimizer import optimizer_of
from fcam_tf.training.run_folder import ABOUT
from fcam_tf.zoo.cards import CARD
from fcam_tf.zoo.weights import read_weights, write_weights

_DATA = flags.DEFINE_string("data", None, "data set, as of `fcam train`", required=True)
_GRAPHS = flags.DEFINE_string("graphs", None, "folder of gpu_graphs.py, if keras-cv is missing")
_OUT = flags.DEFINE_string("out", None, "folder of the results", required=True)
_BACKBONE = flags.DEFINE_string("backbone", "resnet50", "name of the backbone")
_METHODS = flags.DEFINE_list("methods", ["layercam"], "methods that teach decoders")
_TEACHER = flags.DEFINE_string("teacher", None, "ImageNet weights of efficientnetlite_b0, if any")
_TEACHER_SIZE = flags.DEFINE_integer("teacher_size", 224, "side that the teacher sees, in pixels")
_SIDE = flags.DEFINE_integer("side", 64, "side at which photos are kept, in pixels")
_CLASSIFIER = flags.DEFINE_multi_string("classifier_set", [], "KEY=VALUE for the classifier")
_TUNE = flags.DEFINE_multi_string("tune_set", [], "KEY=VALUE for the fine-tuning")
_SET = flags.DEFINE_multi_string("set", [], "KEY=VALUE for the decoders")
_LIMIT = flags.DEFINE_integer("limit", None, "photos of each split: for rehearsals")
_STEPS = flags.DEFINE_integer("steps", None, "steps of each epoch: for rehearsals")

FROM_SCRATCH = ("batch_size=256", "crop=128", "learning_rate=0.2", "weight_decay=3e-4")
FROM_SCRATCH += ("clip_norm=2", "epochs=36", "select=accuracy")
TUNING = (*FROM_SCRATCH, "learning_rate=0.03", "epochs=9")
DECODER = ("batch_size=64", "crop=128", "epochs=2", "select=MaxBoxAccV2")
DECODER += ("loss.crf=1.4e-7", "loss.crf_scale=0.5", "loss.crf_method=exact")
SCALES = (1.0, 1.5, 2.0)  # of the images whose maps teach decoders


def _fit(
    model: keras.Model,
    recipe: training.Recipe,
    batches: Batches,
    loss: Any,
    score: Callable[[], dict[str, float]],
    *,
    folder: Path,
) -> training.RunFolder:
    """Train a model, or go on with it, and leave its best epoch in it."""
    steps = recipe.epochs * batches.num_batches
    optimizer = optimizer_of(recipe)
    rising = max(1, steps // 20)
    optimizer.learning_rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - rising), warmup_target=recipe.learning_rate, warmup_steps=rising
    )
    model.compile(optimizer, loss)
    settings = {"recipe": dataclasses.asdict(recipe), "steps": steps}
    # `recall_run` wants the plot too, which is not drawn here.
    run = training.RunFolder(folder, recipe.epochs)
    if run.finished and read_settings(folder / ABOUT)[0] == json.loads(json.dumps(settings)):
        model.set_weights(models.load(run.best).get_weights())
        return run
    with training.open_run(folder, settings, recipe.epochs) as run:
        run.restore(model)
        model.fit(
            batches,
            initial_epoch=run.state.epoch,
            epochs=recipe.epochs,
            callbacks=[
                keras.callbacks.LambdaCallback(on_epoch_begin=batches.begin),
                training.StopOnNaN(),
                training.KeepBest(run, score, recipe.select),
            ],
            shuffle=False,
            verbose=2,
        )
        model.set_weights(models.load(run.best).get_weights())
        return run


def _classifier(names: tuple[str, ...], size: int, stride: int | None) -> models.Classifier:
    keras.utils.set_random_seed(0)
    model = models.Classifier(
        _BACKBONE.value,
        len(names),
        output_stride=stride,
        weights=None,
        class_names=names,
        input_size=size,
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


def _teacher(names: tuple[str, ...]) -> Callable[[Any], Any] | None:
    """Return the probabilities that ImageNet's classifier gives to the classes."""
    if _TEACHER.value is None:
        return None
    imagenet = models.Classifier.imagenet_class_names()
    # Tiny ImageNet has the first of the synonyms; "crane" and the like are both birds and machines.
    first = [known.split(",")[0] for known in imagenet]
    columns = np.array([(imagenet if n in imagenet else first).index(n) for n in names])
    model = models.Classifier("efficientnetlite_b0", 1000, weights=None, dtype="mixed_bfloat16")
    read_weights(model, _TEACHER.value)
    size = (_TEACHER_SIZE.value,) * 2
    return lambda images: jax.nn.softmax(model(resize(images, size), training=False)[:, columns])


class Stages:
    """The stages of a backbone, and what they found; those that are done are read."""

    def __init__(self, out: Path, splits: Mapping[str, Photos]) -> None:
        self.out, self.splits = out, splits
        results = out / "scores.json"
        self.scores = json.loads(results.read_text()) if results.exists() else {}

    def run(self) -> None:
        """Run the stages that are missing."""
        get = training.get
        scratch = get("classifier", "cub").changed([*FROM_SCRATCH, *_CLASSIFIER.value])
        tuning = get("classifier", "cub").changed([*TUNING, *_TUNE.value])
        decoder = get("fcam", "small").changed([*DECODER, *_SET.value])
        if not self._file("tuned").exists():
            self._classifier("classifier", scratch, 32, None)
        model = self._classifier("tuned", tuning, None, self._file("classifier"))
        for method in _METHODS.value:
            if not (self._entry(method) / CARD).exists():
                self._decoder(model, method, decoder, {"classifier": scratch, "tuned": tuning})
        if "test" not in self.scores:
            found = {n: maps_of(model, n) for n in ("cam", "layercam", "layercam+")}
            test = self.splits["test"]
            self._keep("test", {n: test.scores(f, FRAME) for n, f in found.items()})

    def _file(self, stage: str) -> Path:
        return self.out / f"{stage}.safetensors"

    def _entry(self, method: str) -> Path:
        return self.out / "zoo" / f"{_BACKBONE.value}_{method}"

    def _classifier(
        self, stage: str, recipe: training.Recipe, stride: int | None, before: Path | None
    ) -> models.Classifier:
        train, val = self.splits["train"], self.splits["val"]
        model = _classifier(train.split.class_names, recipe.crop, stride)
        if self._file(stage).exists():
            read_weights(model, self._file(stage))
            return model
        if before:
            read_weights(model, before)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        maps = maps_of(model, "cam")
        run = _fit(
            model,
            recipe,
            self._batches(labelled(train, recipe.crop, _teacher(train.split.class_names)), recipe),
            loss,
            lambda: val.scores(maps, recipe.crop),
            folder=self.out / stage,
        )
        self._keep(stage, {"val": run.chosen})
        part = self.out / "part.safetensors"  # the name tells that the stage is done
        write_weights(model, part)
        part.replace(self._file(stage))
        return model

    def _decoder(
        self,
        classifier: models.Classifier,
        method: str,
        recipe: Any,
        before: Mapping[str, training.Recipe],
    ) -> None:
        train, val, test = (self.splits[name] for name in ("train", "val", "test"))
        candidates = [method] + ["layercam+"] * (method == "layercam")
        teachers = {name: maps_of(classifier, name, SCALES) for name in candidates}
        found = {name: val.scores(maps, recipe.crop) for name, maps in teachers.items()}
        best = max(candidates, key=lambda name: found[name][recipe.select])
        print("taught by", best, found, flush=True)
        maps = [x.astype(jnp.float16) for x, _ in train.explained(teachers[best])]
        model = models.FCAM.from_classifier(
            classifier,
            method=method,
            layer=["P4", "P5"] if best.endswith("+") else None,
            decoder_filters=recipe.filters,
            seed=recipe.seed,
            scales=SCALES,  # for who trains it further
            flip=True,
        )
        size = (recipe.crop, recipe.crop)

        def explain(images: Any, labels: Any) -> tuple[Any, Any]:
            return model.maps_and_logits(resize(images, size), labels)

        run = _fit(
            model,
            recipe,
            self._batches(mapped(train, recipe.crop, jnp.concatenate(maps)), recipe),
            FCAMLoss(**recipe.loss),
            lambda: val.scores(explain, recipe.crop),
            folder=self.out / method,
        )
        more = {"teachers": found, "taught by": best, "test": test.scores(explain, FRAME)}
        self._keep(method, {"val": run.chosen, **more})
        recipes = {**before, method: recipe}
        zoo.save(
            model,
            self._entry(method).name,
            self._entry(method).parent,
            trained_on=f"{zoo.data_name(_DATA.value)}, {len(train.split)} images, from scratch",
            licence="Apache-2.0",
            recipe={name: dataclasses.asdict(each) for name, each in recipes.items()}
            | {"command": " ".join(sys.argv)},
            int8=True,
        )

    def _batches(self, draw: Draw, recipe: training.Recipe) -> Batches:
        return Batches(draw, len(self.splits["train"].split), recipe.batch_size, _STEPS.value)

    def _keep(self, stage: str, found: dict[str, Any]) -> None:
        self.scores[stage] = {**found, "command": " ".join(sys.argv)}
        (self.out / "scores.json").write_text(json.dumps(self.scores, indent=1))
        print(stage, found, flush=True)


def main() -> None:
    """Read the photos, and run the stages that are missing."""
    if _GRAPHS.value:
        gpu_graphs.use(Path(_GRAPHS.value))
    out = Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    names = ("train", "val", "test")
    splits = {n: Photos.load(_DATA.value, n, _SIDE.value, _LIMIT.value) for n in names}
    print({name: len(photos.split) for name, photos in splits.items()}, flush=True)
    Stages(out, splits).run()


if __name__ == "__main__":
    start(main)
