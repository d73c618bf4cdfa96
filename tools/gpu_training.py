"""Trains both stages from packs under JAX, for a machine with a GPU and without TensorFlow.

    KERAS_BACKEND=jax python tools/gpu_training.py --stage classifier --backbone resnet50 \
        --packs .gpu/tiny100-0.xz,.gpu/tiny100-1.xz --size 112 --seconds 200 --out runs/resnet50
    KERAS_BACKEND=jax python tools/gpu_training.py --stage fcam --backbone resnet50 \
        --method layercam --start runs/resnet50/classifier.h5 ... --out runs/resnet50_layercam

tools/gpu_packs.py makes the packs. Time is what a borrowed GPU has least of: a training takes
--seconds from the end of its first step, and the learning rate falls along a cosine of that time.
With --start a stage builds and compiles everything, then waits until that file is there. --out gets
scores.json (of the test split, percent), log.csv and the weights, float16.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
import types
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np
from absl import app, flags
from packs import Images, read_pack

from fcam_tf import cams, metrics, models
from fcam_tf.losses import FCAMLoss
from fcam_tf.models.weights import HEAD
from fcam_tf.optimizer import CoupledAdam, CoupledSGD
from fcam_tf.zoo.weights import read_weights, write_weights

_STAGE = flags.DEFINE_enum("stage", None, ["classifier", "fcam"], "what to train", required=True)
_PACKS = flags.DEFINE_list("packs", None, "packs to train on and to score", required=True)
_GRAPHS = flags.DEFINE_string("graphs", None, "folder of the graphs of keras-cv, if it is missing")
_OUT = flags.DEFINE_string("out", None, "folder of the results", required=True)
_START = flags.DEFINE_string("start", None, "weights to start from; waits for the file")
_BACKBONE = flags.DEFINE_string("backbone", "resnet50", "name of the backbone")
_STRIDE = flags.DEFINE_integer("output_stride", None, "None for the backbone's own")
_CLASSES = flags.DEFINE_integer("classes", None, "of the classifier; None for those of the packs")
_METHODS = flags.DEFINE_list("score_methods", ["cam"], "maps of the classifier to score")
_METHOD = flags.DEFINE_string("method", "cam", "method that teaches")
_LOSS = flags.DEFINE_string("loss", "{}", "JSON, arguments of FCAMLoss")
_SIZE = flags.DEFINE_integer("size", 224, "side that is cropped and scored; resized to 8/7 of it")
_BATCH = flags.DEFINE_integer("batch_size", 32, "images in a step")
_OPTIMIZER = flags.DEFINE_enum("optimizer", "adam", ["adam", "sgd"], "which")
_RATE = flags.DEFINE_float("learning_rate", 1e-3, "at its highest")
_DECAY = flags.DEFINE_float("weight_decay", 1e-4, "coupled L2")
_CLIP = flags.DEFINE_float("clip_norm", 0.0, "largest norm of the gradient; 0 does not clip")
_SECONDS = flags.DEFINE_float("seconds", 60, "of training, after the first step")
_CHUNK = flags.DEFINE_integer("chunk", 50, "steps for which the learning rate stays")
_CHECKS = flags.DEFINE_integer("checks", 4, "how often val is scored on the way")
_SELECT = flags.DEFINE_string("select", "MaxBoxAccV2", "score of val that chooses")
_LIMIT = flags.DEFINE_integer("limit", None, "images to train on; None for all")
_VAL = flags.DEFINE_integer("val", 500, "images of val to choose by")
_SEED = flags.DEFINE_integer("seed", 0, "of everything")
_DTYPE = flags.DEFINE_string("dtype", "mixed_bfloat16", "dtype policy")
_INT8 = flags.DEFINE_bool("int8", False, "write large kernels in 8 bits")
_DECODER = flags.DEFINE_bool("decoder_alone", False, "write no weights of the classifier")

_WARM_UP = 0.05  # share of the time in which the learning rate rises
_WAIT = 900  # seconds for the file to start from


class Crops(keras.utils.PyDataset):
    """Batches of random crops, half of them flipped, a new permutation at each pass."""

    def __init__(self, images: Images) -> None:
        super().__init__(workers=2, max_queue_size=8)
        self.images, self.chunk = images, 0

    def __len__(self) -> int:
        return _CHUNK.value

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        step, batch, count = self.chunk * len(self) + index, _BATCH.value, len(self.images)
        passed, place = divmod(step, max(1, count // batch))
        order = np.random.default_rng([_SEED.value, passed]).permutation(count)
        rows = np.resize(order, max(count, batch))[place * batch : (place + 1) * batch]
        rng = np.random.default_rng([_SEED.value, passed, place])
        room = self.images.pixels.shape[1] - _SIZE.value
        crops = np.empty((batch, _SIZE.value, _SIZE.value, 3), np.float32)
        for crop, row in zip(crops, rows, strict=True):
            y, x, mirrored = rng.integers(0, [room + 1, room + 1, 2])
            piece = self.images.pixels[row, y : y + _SIZE.value, x : x + _SIZE.value]
            crop[:] = piece[:, ::-1] if mirrored else piece
        return crops, self.images.labels[rows].astype(np.int32)

    def on_epoch_end(self) -> None:
        self.chunk += 1


class Clock(keras.callbacks.Callback):
    """Learning rate by the time that is gone, the best weights by val, and the end."""

    def __init__(self, score: Any = None) -> None:
        super().__init__()
        self.score, self.begin, self.spent = score, None, 0.0
        self.log: list[dict[str, float]] = []
        self.best: tuple[float, Any] = (-math.inf, None)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        share = 0.0 if self.begin is None else min(self._seconds() / _SECONDS.value, 1)
        warm = min(1.0, (share + 1e-3) / _WARM_UP)
        self.model.optimizer.learning_rate = (
            _RATE.value * warm * max(0.5 * (1 + math.cos(math.pi * share)), 1e-3)
        )

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        self.begin = self.begin or time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        seconds = self._seconds()
        self.log.append({"steps": (epoch + 1) * _CHUNK.value, "seconds": round(seconds, 1), **logs})
        over = seconds >= _SECONDS.value
        due = len([row for row in self.log if "checked" in row]) + 1
        if self.score and (over or seconds >= due * _SECONDS.value / (_CHECKS.value + 1)):
            before = time.perf_counter()
            found = self.score()
            self.log[-1] |= {"checked": 1, **found}
            if found[_SELECT.value] > self.best[0]:
                self.best = (found[_SELECT.value], self.model.get_weights())
            self.spent += time.perf_counter() - before
        if over or not np.isfinite(logs["loss"]):
            self.model.stop_training = True

    def _seconds(self) -> float:
        return time.perf_counter() - self.begin - self.spent


def _score(maps_and_logits: Any, images: Images, count: int | None = None) -> dict[str, float]:
    """Score maps of the true classes as the benchmark does."""
    found = [metrics.MaxBoxAcc(), metrics.MaxBoxAccV2()]
    pixels = metrics.PxAP()
    right, count = 0, min(count or len(images), len(images))
    some = np.sort(np.random.default_rng(0).permutation(len(images))[:count])
    for start in range(0, count, _BATCH.value):
        rows = some[np.minimum(np.arange(start, start + _BATCH.value), count - 1)]
        maps, logits = maps_and_logits(images.pixels[rows].astype(np.float32), images.labels[rows])
        fresh = rows[: count - start]
        maps = np.asarray(keras.ops.convert_to_numpy(maps), np.float32)[: len(fresh)]
        if maps.shape[1] != _SIZE.value:
            scaled = keras.ops.image.resize(maps[..., None], (_SIZE.value,) * 2)
            maps = np.clip(keras.ops.convert_to_numpy(scaled)[..., 0], 0, 1)
        logits = keras.ops.convert_to_numpy(logits)[: len(fresh)]
        right += int((logits.argmax(-1) == images.labels[fresh]).sum())
        if images.boxes:
            for metric in found:
                metric.update_state(maps, [images.boxes[row] for row in fresh])
        if images.masks is not None:
            pixels.update_state(maps, images.masks[fresh])
    scores = {type(m).__name__: float(m.result()) for m in found if images.boxes}
    if images.masks is not None:
        scores["PxAP"] = float(pixels.result())
    return scores | {"accuracy": 100 * right / count}


def _classifier(classes: int, names: Any) -> models.Classifier:
    keras.utils.set_random_seed(_SEED.value)
    model = models.Classifier(
        _BACKBONE.value,
        classes,
        output_stride=_STRIDE.value,
        weights=None,
        class_names=names,
        input_size=_SIZE.value,
        dtype=_DTYPE.value,
    )
    first = True
    for layer in model.layers:
        # Without batch normalisation, signals keep their size only from He's initialisation on, and
        # from inputs of unit variance.
        if _BACKBONE.value == "vgg16" and isinstance(layer, keras.layers.Conv2D):
            kernel = keras.initializers.HeNormal(_SEED.value)(layer.kernel.shape)
            layer.kernel.assign(kernel / 64 if first else kernel)
            first = False
    return model


def _compile(model: keras.Model, loss: Any, **arguments: Any) -> None:
    kind = {"adam": CoupledAdam, "sgd": CoupledSGD}[_OPTIMIZER.value]
    optimizer = kind(_RATE.value, l2=_DECAY.value, global_clipnorm=_CLIP.value or None)
    model.compile(optimizer, loss, **arguments)


def _await(model: keras.Model) -> None:
    """Compile by one step on noise, wait for the file to start from, and begin as if new."""
    path = Path(_START.value)
    before = model.get_weights()
    size = (_BATCH.value, _SIZE.value, _SIZE.value, 3)
    noise = np.random.default_rng(0).uniform(0, 255, size).astype(np.float32)
    model.fit(noise, np.zeros(_BATCH.value, np.int32), batch_size=_BATCH.value, verbose=0)
    model.set_weights(before)
    for variable in model.optimizer.variables:
        variable.assign(np.zeros(variable.shape, variable.dtype))
    until = time.monotonic() + _WAIT
    while not path.exists():
        if time.monotonic() > until:
            raise TimeoutError(f"{path} did not appear in {_WAIT} s")
        time.sleep(0.5)


def _read_classifier(classifier: models.Classifier) -> None:
    """Read the weights of a classifier, also of one with another head."""
    try:
        read_weights(classifier, _START.value)
    except ValueError:
        other = models.Classifier(
            _BACKBONE.value,
            _CLASSES.value,
            output_stride=_STRIDE.value,
            weights=None,
        )
        read_weights(other, _START.value)
        for mine, theirs in zip(classifier.layers, other.layers, strict=True):
            if mine.name != HEAD:
                mine.set_weights(theirs.get_weights())


def _train_classifier(splits: dict[str, Images], names: list[str], out: Path) -> dict[str, Any]:
    model = _classifier(len(names), names)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    _compile(model, loss, metrics=["accuracy"])
    if _START.value:
        _await(model)
        _read_classifier(model)
    clock = Clock()
    model.fit(Crops(splits["train"]), epochs=10**6, callbacks=[clock], verbose=0, shuffle=False)
    part = out / "part.h5"
    write_weights(model, part)
    part.replace(out / "classifier.h5")  # decoders wait for it
    _write_log(clock, out)
    scores = {
        method: _score(cams.get(method, model).maps_and_logits, splits["test"])
        for method in _METHODS.value
    }
    return {"scores": scores, "log": clock.log[-1]}


def _train_fcam(splits: dict[str, Images], names: list[str], out: Path) -> dict[str, Any]:
    own = _CLASSES.value in (None, len(names))
    classifier = _classifier(_CLASSES.value or len(names), names if own else None)
    model = models.FCAM.from_classifier(classifier, method=_METHOD.value, seed=_SEED.value)
    _compile(model, FCAMLoss(**json.loads(_LOSS.value)))
    _await(model)
    _read_classifier(model.classifier)
    clock = Clock(lambda: _score(model.maps_and_logits, splits["val"], _VAL.value))
    clock.set_model(model)
    model.fit(Crops(splits["train"]), epochs=10**6, callbacks=[clock], verbose=0, shuffle=False)
    _write_log(clock, out)
    model.set_weights(clock.best[1])
    without = [layer.name for layer in model.classifier.layers] if _DECODER.value else ()
    write_weights(model, out / "model.weights.h5", int8=_INT8.value, without=without)
    scores = {"fcam": _score(model.maps_and_logits, splits["test"])}
    return {"scores": scores, "val": clock.best[0], "log": clock.log[-1]}


def _write_log(clock: Clock, out: Path) -> None:
    keys = list(dict.fromkeys(key for row in clock.log for key in row))
    lines = [",".join(str(row.get(key, "")) for key in keys) for row in clock.log]
    (out / "log.csv").write_text("\n".join([",".join(keys), *lines]) + "\n")


def _use_graphs(folder: Path) -> None:
    """Put graphs that keras-cv built elsewhere in its place: it insists on TensorFlow."""
    families = types.SimpleNamespace()
    for path in folder.glob("*.json"):
        backbone, kind, _ = path.name.split(".")
        if backbone == _BACKBONE.value:
            build = lambda path=path, **_: keras.models.model_from_json(path.read_text())  # noqa: E731
            setattr(families, kind, build)
    sys.modules["keras_cv"] = types.SimpleNamespace(models=families)


def main(argv: list[str]) -> None:
    """Train one stage."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    if _GRAPHS.value:
        _use_graphs(Path(_GRAPHS.value))
    out = Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    packs = [read_pack(path) for path in _PACKS.value]
    sides = {"train": _SIZE.value * 8 // 7, "val": _SIZE.value, "test": _SIZE.value}
    names = [str(name) for name in packs[-1]["class_names"]]
    classes = _CLASSES.value if _STAGE.value == "fcam" and _CLASSES.value else len(names)
    splits = {
        name: Images(packs, name, side, classes, _LIMIT.value if name == "train" else None)
        for name, side in sides.items()
    }
    print(f"{len(splits['train'])} images in {time.perf_counter() - begin:.0f} s", flush=True)
    train = {"classifier": _train_classifier, "fcam": _train_fcam}[_STAGE.value]
    found = train(splits, names, out)
    found |= {"images": len(splits["train"]), "command": " ".join(sys.argv)}
    (out / "scores.json").write_text(json.dumps(found, indent=1))
    print(_OUT.value, json.dumps(found["scores"]), found["log"], flush=True)


if __name__ == "__main__":
    app.run(main)
