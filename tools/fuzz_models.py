"""Targets of fuzz.py: what is read for models, and the operations."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import safetensors.numpy
import tensorflow as tf
from fuzz_engine import FaultError, Target

from fcam_tf import ops
from fcam_tf.claim import SettingsChangedError
from fcam_tf.evaluation.rows import FOUND, Row
from fcam_tf.evaluation.stored import HEADLINES, METRICS, ROWS, EvaluationSettings, StoredEvaluation
from fcam_tf.ops.bilateral import crf_loss_and_gradient
from fcam_tf.training.recipe import ClassifierRecipe, FCAMRecipe
from fcam_tf.training.run_folder import ABOUT, RunFolder
from fcam_tf.zoo.weights import read_weights, write_weights


def _recipe(data: bytes, place: Path) -> None:
    path = place / "recipe.json"
    path.write_bytes(data)
    (ClassifierRecipe if len(data) % 2 else FCAMRecipe).from_json(path)


def _long(text: bytes, odd: int) -> bytes:
    """Give an input an odd length, which stands for a classifier's recipe, or an even one."""
    return text + b" " * ((len(text) + odd) % 2)


def _seed_recipes() -> list[bytes]:
    recipes = (FCAMRecipe(loss={"crf": 1e-9, "windows": {"crf": [2, None]}}), ClassifierRecipe())
    texts = [json.dumps(dataclasses.asdict(each)).encode() for each in recipes]
    return [_long(text, odd) for odd, text in enumerate(texts)]


def _setting(data: bytes, place: Path) -> None:
    """Change a recipe by the lines of the input, as --set does."""
    del place
    settings = data.decode("utf-8", "surrogateescape").split("\n")
    (ClassifierRecipe() if len(data) % 2 else FCAMRecipe()).changed(settings)


def _seed_settings() -> list[bytes]:
    decoder = (
        b"epochs=3\nloss.crf=4e-9\nlayer=P4,P5",
        b"cams=stored\nstored_scales=1,1.5",
        b'flip=false\nloss={"windows": {"crf": [2, null]}}',
    )
    return [*(_long(text, odd=0) for text in decoder), _long(b"train=all\nhead_ratio=10", odd=1)]


def _model() -> keras.Model:
    images = keras.Input((4, 4, 2), name="images")
    x = keras.layers.Conv2D(4, 1, name="small")(images)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(images, keras.layers.Dense(80, name="large")(x))


MODEL = _model()
_WORDS = ("dtype", "shape", "data_offsets", "F16", "F32", "I8", "BF16", "_scale", "small/0")


def _weights(data: bytes, place: Path) -> None:
    """Read weights, all or none."""
    (place / "weights.safetensors").write_bytes(data)
    before = [np.array(w) for w in MODEL.weights]
    try:
        read_weights(MODEL, place / "weights.safetensors")
    except ValueError:
        if not all(map(np.array_equal, before, MODEL.weights)):
            raise FaultError("some weights were read") from None
        raise


def _seed_weights() -> list[bytes]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "weights.safetensors")
        for int8 in (False, True):
            write_weights(MODEL, file, int8=int8)
            found.append(file.read_bytes())
    for header in (
        {"small/1": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}, "__metadata__": {}},
        {"small/1": {"dtype": "BF16", "shape": [0, 2**62], "data_offsets": [0, 0]}},
    ):
        text = json.dumps(header).encode()
        found.append(len(text).to_bytes(8, "little") + text + bytes(8))
    return found


def _seed_old_weights() -> list[bytes]:
    found = []
    for arrays in map(safetensors.numpy.load, _seed_weights()[:2]):
        memory = io.BytesIO()
        with h5py.File(memory, "w") as made:
            for name, values in arrays.items():
                made.create_dataset(name, data=values, compression="gzip", shuffle=True)
        found.append(memory.getvalue())
    for links in (h5py.SoftLink("/other"), h5py.ExternalLink("/etc/passwd", "/a")):
        memory = io.BytesIO()
        with h5py.File(memory, "w") as made:
            made["small"] = links
        found.append(memory.getvalue())
    return found


def _evaluation(data: bytes, place: Path) -> None:
    """Read a finished evaluation, its three files parted by a line of three dashes."""
    for name, text in zip(("settings.json", METRICS, ROWS), data.split(b"\n---\n")):  # noqa: B905
        (place / name).write_bytes(text)
    found = StoredEvaluation(place)
    str(found.settings.title)


def _seed_evaluations() -> list[bytes]:
    row = Row("a.jpg", 1, 1, 0.5, 0, 0.5, 0.5, 0.5, 0, 0, 5, 6, None, None, FOUND)
    text = io.StringIO()
    writer = csv.DictWriter(text, dataclasses.asdict(row))
    writer.writeheader()
    writer.writerow(dataclasses.asdict(row))
    settings = dataclasses.asdict(EvaluationSettings(method="cam", data="d", split="test"))
    parts = [
        json.dumps({"settings": settings, "model": "m"}),
        json.dumps(dict.fromkeys(HEADLINES, 50.0) | {"details": {}}),
        text.getvalue(),
    ]
    return ["\n---\n".join(parts).encode()]


def _run(data: bytes, place: Path) -> None:
    """Open a training's folder, its two files parted by a line of three dashes."""
    for name, text in zip(("state.json", ABOUT), data.split(b"\n---\n")):  # noqa: B905
        (place / name).write_bytes(text)
    run = RunFolder(place, 3)
    bool(run.finished)


def _seed_runs() -> list[bytes]:
    state = {"epoch": 1, "history": [{"loss": 1.0}], "best": 0, "weights": "epoch1.weights.h5"}
    return [f'{json.dumps(state)}\n---\n{{"settings": {{"recipe": {{}}}}}}'.encode()]


_SIDES = (0, 1, 2, 3, 5, 8, 17, 2**16, 2**31, 2**40)


def _op(data: bytes, place: Path) -> None:
    """Call the operations: ten bytes say shapes and which, two numbers the sigmas, then values."""
    del place
    head = [*data[:10], *bytes(10)][:10]
    shape = [_SIDES[byte % len(_SIDES)] for byte in head[:4]]
    # What is huge is so beside a side of 0, which pixels need as well.
    if max(np.prod(shape, dtype=float), np.prod(shape[:3], dtype=float)) > 4096:
        shape = [side if side < 2**16 else 3 for side in shape]
    other = shape[:3] if head[4] % 4 else [_SIDES[byte % 7] for byte in head[5:8]]
    channels = (1, 3, 3, 2, 0)[head[8] % 5]
    sigmas = [*np.frombuffer(data[10:18].ljust(8, b"\x42"), "<f4").tolist()]
    raw = data[18:] or b"\0"
    size = int(np.prod(shape, dtype=float))
    values = np.frombuffer((raw * (4 * size // len(raw) + 1))[: 4 * size], "<f4").reshape(shape)
    pixels = np.resize(np.frombuffer(raw, np.uint8), (*other, channels))
    images: Any = pixels if head[9] % 2 else np.resize(values, pixels.shape)
    which = head[9] // 2 % 4
    with np.errstate(all="ignore"):
        if which == 0:
            found = ops.bilateral_filter(values, images, *sigmas)
        elif which == 1:
            found = crf_loss_and_gradient(
                tf.constant(images), tf.constant(values), *sigmas, symmetric=bool(head[4] % 2)
            )[1]
        else:
            name = "unaries" if which == 2 else "probabilities"
            found = ops.dense_crf(
                images=images, bilateral=(3.0, *sigmas), iterations=2, **{name: values}
            )
    if tuple(found.shape) != values.shape:
        raise FaultError(f"the answer has shape {found.shape}")


def _seed_ops() -> list[bytes]:
    sigmas = np.array([10, 50], "<f4").tobytes()
    values = np.linspace(0, 1, 40, dtype="<f4").tobytes()
    return [bytes([1, 4, 5, 2, 1, 0, 0, 0, 1, which]) + sigmas + values for which in range(8)] + [
        bytes([1, 0, 8, 2, 1, 0, 0, 0, 1, 1]) + sigmas + b"\0\0\xc0\x7f"
    ]


_REFUSED = (ValueError, TypeError, tf.errors.InvalidArgumentError, tf.errors.ResourceExhaustedError)
TARGETS = {
    "recipe": Target(_recipe, (ValueError, OSError), _seed_recipes, named=True),
    "setting": Target(_setting, (ValueError,), _seed_settings),
    "weights": Target(_weights, (ValueError, OSError), _seed_weights, named=True, words=_WORDS),
    "old_weights": Target(_weights, (ValueError, OSError), _seed_old_weights, named=True),
    "evaluation": Target(_evaluation, (ValueError, OSError), _seed_evaluations, named=True),
    "run": Target(_run, (SettingsChangedError, ValueError, OSError), _seed_runs, named=True),
    "op": Target(_op, _REFUSED, _seed_ops),
}
