"""The commands that are stopped, on inputs so small that each takes seconds."""

import importlib
import json
import os
import pkgutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from fcam_tf import cli, zoo
from fcam_tf.cams import autodiff
from fcam_tf.data import write_shapes
from fcam_tf.evaluation import scoring
from fcam_tf.models import BACKBONES, FCAM, Classifier
from fcam_tf.training import cam_file, cam_store, loop
from fcam_tf.zoo.fetch import find_weights
from tests.faults.contents import files
from tests.faults.engine import Finished, Scenario
from tests.models.tiny import tiny_backbone, tiny_classifier

_BACKBONE = "efficientnetlite_b0"
_ENTRY = f"{_BACKBONE}_layercam.tiny"
_ABOUT = {"trained_on": "nothing", "licence": "Apache-2.0"}
_SIZES = ("resize=36", "crop=32", "batch_size=3")
_PHOTOS = 5


def prepare() -> None:
    """Import all, have small models in place of large ones, and run them step by step."""
    for package in ("commands", "evaluation", "paper", "predict", "report", "training", "zoo"):
        found = importlib.import_module(f"fcam_tf.{package}")
        for module in pkgutil.iter_modules(found.__path__):
            importlib.import_module(f"fcam_tf.{package}.{module.name}")
    BACKBONES[_BACKBONE] = tiny_backbone(_BACKBONE)
    keras.Model.run_eagerly = keras.Model.run_eagerly.getter(lambda _: True)
    autodiff.compiled = lambda function: function
    loop.tensorboard = lambda *_: []  # its logs are appended to, with the time
    scoring.PART = 2
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"  # no process that filters what TensorFlow says


def write_inputs(folder: Path) -> None:
    """Write photos, a data set, a classifier, an F-CAM and a zoo of one entry."""
    write_shapes(folder / "shapes", {"train": 6, "val": 4, "test": 4}, 48)
    write_shapes(folder / "many", {"train": 2 * cam_store.BATCH + 2}, 48)
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for number in range(_PHOTOS):
        pixels = rng.integers(0, 256, (40 + number, 48, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number}.png")
    keras.utils.set_random_seed(0)
    classifier = tiny_classifier(classes=5)
    classifier.save(folder / "classifier.keras")
    model = FCAM.from_classifier(classifier, decoder_filters=(8, 6, 4), threshold=0.5)
    model.input_size = 32
    model.save(folder / "fcam.keras")
    _save(folder / "zoo")


def scenarios(inputs: Path) -> dict[str, Scenario]:
    """Return the table: what is run, and what it has finished."""
    shapes, classifier = inputs / "shapes", inputs / "classifier.keras"
    data, model = ("--data", shapes), ("--model", classifier)
    once, twice = _set("epochs=1", *_SIZES), _set("epochs=2", *_SIZES)
    names = ("--model", _BACKBONE, "--weights=none", "--output-stride=16", "--recipe=small")
    erosion = ("--set", "loss.erosion=3")
    stored = ("--set", "cams=stored", "--method=layercam")
    draws = ("--draw", "learning_rate=log:0.001..0.1", "--draws=2")
    both = (*once, *(text.replace("--set", "--classifier-set") for text in once))
    small = ("--weights=none", "--recipe=small", "--output-stride=16", *both, *erosion)
    table = ("--backbones", _BACKBONE, "--seeds=1", "--methods=cam,cam+fcam")

    def in_out(out: Path) -> list[object]:
        return ["--out", out / "zoo", "--runs", out / "runs"]

    return {
        "train classifier": _fcam("train", "classifier", *data, *names, *twice),
        "train fcam": _fcam("train", "fcam", *data, *model, *twice, *erosion),
        "store maps": _fcam(
            *("train", "fcam", *data, *model, *once, *erosion, *stored),
            finished=partial(_maps, "cams"),
        ),
        "store-cams": _fcam(
            *("store-cams", "--data", inputs / "many", *model, "--method=layercam"),
            *("--recipe=small", *_set(*_SIZES[:2])),
            finished=partial(_maps, "."),
            shared=True,
        ),
        "evaluate": _fcam(
            "evaluate", *data, *model, "--method=cam", finished=partial(_stamps, "parts/*")
        ),
        "localize": _fcam(
            *("localize", inputs / "photos", *model, "--method=cam", "--crops", "--batch-size=2"),
            finished=_photos,
        ),
        "export": _fcam("export", inputs / "fcam.keras", where=lambda out: [out / "1"], once=True),
        "zoo make": _fcam(
            *("zoo", "make", _ENTRY, *data, "--licence=none", *small), where=in_out, once=True
        ),
        "zoo save": Scenario(_save_twice, _entry),
        "download": Scenario(
            partial(_download, inputs / "zoo"), partial(_stamps, "zoo/*.weights"), shared=True
        ),
        "search": _fcam("search", "fcam", *data, *model, *once, *erosion, *draws),
        "paper": _fcam("paper", "table3", *data, *table, *small, shared=True),
    }


def _set(*texts: str) -> tuple[str, ...]:
    return tuple(f"--set={text}" for text in texts)


def _fcam(
    *arguments: object,
    where: Callable[[Path], list[object]] = lambda out: ["--out", out],
    finished: Finished | None = None,
    shared: bool = False,
    once: bool = False,
) -> Scenario:
    @tf.autograph.experimental.do_not_convert  # a fifth of the time, and nothing here needs it
    def run(out: Path) -> int:
        return cli.run(["fcam", *map(str, arguments), *map(str, where(out))])

    return Scenario(run, finished or _epochs, shared, once)


def _save(folder: Path, **options: bool) -> None:
    keras.utils.set_random_seed(0)
    model = FCAM.from_classifier(Classifier(_BACKBONE, 2, weights=None, output_stride=16))
    zoo.save(model, _ENTRY, folder, **_ABOUT, **options)


def _download(away: Path, out: Path) -> int:
    os.environ.update(FCAM_ZOO=away.as_uri(), FCAM_CACHE=str(out))
    try:
        find_weights(json.loads((away / _ENTRY / "card.json").read_bytes()), out)
    except OSError as error:  # as commands do
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _save_twice(out: Path) -> int:
    try:
        if not _entry(out):
            _save(out)
        _save(out, replace=True)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _entry(out: Path) -> dict[str, object]:
    return {"entry": True} if (out / _ENTRY / "card.json").exists() else {}


def _epochs(out: Path) -> dict[str, object]:
    """The scores of each finished epoch of each run; of a finished training its time of change."""
    found: dict[str, object] = {}
    for file in (path for path in files(out) if path.name == "state.json"):
        for row in json.loads(file.read_bytes())["history"]:
            found[f"{file.relative_to(out)} epoch {row['epoch']}"] = row
    return found


def _stamps(pattern: str, out: Path) -> dict[str, object]:
    """When the visible files of a pattern were written, for `glob` finds hidden folders, too."""
    return {path.name: path.stat().st_mtime_ns for path in out.glob(pattern) if path.is_file()}


def _photos(out: Path) -> dict[str, object]:
    """When the files of the photos were written that results.jsonl tells of."""
    file = out / "results.jsonl"
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    records = [json.loads(line) for line in lines]
    return {r["overlay"]: (out / r["overlay"]).stat().st_mtime_ns for r in records}


def _maps(folder: str, out: Path) -> dict[str, object]:
    """The checksum of each map that was stored in a folder, and the epochs."""
    records = cam_file.records_of(out / folder / cam_store.MAPS)
    rows = enumerate([] if records is None else records)
    return _epochs(out) | {f"map {n}": int(row["crc"]) for n, row in rows if row["crc"]}
