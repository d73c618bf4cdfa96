"""``fcam train``: a classifier, then the decoder of its full-resolution map."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app, flags

from fcam_tf import __version__
from fcam_tf.claim import FolderBusyError
from fcam_tf.commands.command import Command
from fcam_tf.commands.model import check_model, define_import, identify, load_model
from fcam_tf.commands.quiet import quiet_tensorflow
from fcam_tf.commands.telling import console, failed, require, telling, usage_errors
from fcam_tf.identity import file_sha256, split_sha256
from fcam_tf.names import BACKBONES, lookup
from fcam_tf.training.run import recall_run

if TYPE_CHECKING:
    import keras
    from rich.console import Console
    from rich.table import Table

    from fcam_tf.training import RunFolder, Start

STAGES = ("classifier", "fcam", "fsl")
_BACKBONE = "efficientnetlite_b0"
_UNLEARNT = 0.6  # of the seed loss, which is ln 2 for a map that is 0.5 everywhere

_DETAILS = """\
Two stages. The first trains a classifier on images and their labels; no boxes, no masks. The second
freezes it and trains a decoder behind it, whose map has the resolution of the image. What teaches
the decoder are a few pixels of the classifier's own coarse map (--method), the colours of the
image, and that neither object nor background may vanish.

The stage fsl is what both are compared with: few-shot full supervision. The decoder learns from the
masks of the val split, or its filled boxes; four fifths of it train, one fifth chooses the epoch.

DATA is a folder in the benchmark's layout, a folder of class folders with or without train/ and
val/ around them, tfds:NAME, or shapes (generated). Boxes and masks of its val split, where it has
them, choose the best epoch, else the classifier's accuracy; they never train.

OUT gets run.json (recipe, versions), metrics.csv, convergence.png, best.keras, logs for
TensorBoard where it is installed, and test/ with the report of fcam evaluate where there is a test
split with boxes or masks. A run that was stopped goes on where it was when the same command is
given again.

Exit status: 0 all went well, 1 something failed, 2 wrong usage, 130 interrupted.

Examples:
  fcam train classifier --data shapes --recipe small --out runs/shapes
  fcam train fcam --data shapes --model runs/shapes --recipe small --set loss.crf=4e-9 \\
      --out runs/shapes-fcam
  fcam train classifier --data data/CUB --model resnet50 --out runs/cub
  fcam train fcam --data data/CUB --model runs/cub --method layercam --out runs/cub-fcam \\
      --set loss.negative_share=0.3
  fcam train classifier --data data/CUB --model resnet50 --method adl --out runs/cub-adl \\
      --set baseline.drop_rate=0.6
  fcam train fsl --data data/CUB --model resnet50 --set decoder=linear --out runs/cub-fsl"""


def define_training(values: flags.FlagValues) -> None:
    """Define the flags that say what is trained, on what, by which recipe and where to."""
    define_start(values)
    flags.DEFINE_string(
        "model",
        None,
        "`MODEL`: a run folder, a model saved as .keras, or for a classifier the name of a "
        "backbone (default there: efficientnetlite_b0)",
        flag_values=values,
    )
    flags.DEFINE_string(
        "method",
        None,
        "`METHOD` whose maps are scored, and teach the decoder; has, cutmix, adl, acol, spg and "
        "icl also change how a classifier trains (default: cam, or what MODEL was trained with)",
        flag_values=values,
    )
    flags.DEFINE_string("out", None, "`FOLDER` to write to", flag_values=values)


def define_start(values: flags.FlagValues) -> None:
    """Define the flags of all that trains: data, recipe, and how a backbone is built."""
    flags.DEFINE_string("data", None, "`DATA` to train on", flag_values=values)
    flags.DEFINE_enum(
        "output_stride",
        None,
        ("8", "16", "32"),
        "pixels for one cell of the coarse map, of a backbone given by name",
        flag_values=values,
    )
    flags.DEFINE_string(
        "weights",
        "imagenet",
        "`imagenet|none|FILE` to start a backbone given by name from",
        flag_values=values,
    )
    flags.DEFINE_string(
        "recipe", "cub", "`NAME|FILE.json` of the numbers to train with", flag_values=values
    )
    flags.DEFINE_multi_string(
        "set", [], "`KEY=VALUE` to change in the recipe; may be repeated", flag_values=values
    )
    flags.DEFINE_string(
        "cams",
        None,
        "`FOLDER` of stored maps, to be shared by runs (default: in the run)",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "skip_broken",
        False,
        "decode all photos first, and leave out those that cannot be read",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "strategy",
        "single",
        ("single", "mirrored"),
        "mirrored: share each batch among all GPUs",
        flag_values=values,
    )
    define_import(values)


def check_stage(values: flags.FlagValues, arguments: list[str]) -> str:
    """Return which stage is asked for, and refuse flags that do not do for it."""
    if len(arguments) != 1 or arguments[0] not in STAGES:
        raise app.UsageError(f"name one stage to train: {', '.join(STAGES)}")
    stage = arguments[0]
    require(values, "data", "out")
    if stage == "fcam":
        require(values, "model")
    name = values.model or _BACKBONE
    saved = name.endswith(".keras") or Path(name).is_dir()
    if stage == "classifier" and not saved:
        with usage_errors(ValueError):
            lookup(dict.fromkeys(BACKBONES), name, "model")
    elif stage == "fcam" or name not in BACKBONES:
        check_model(name)
    return stage


def _run(values: flags.FlagValues, arguments: list[str]) -> int:
    stage = check_stage(values, arguments)
    notes = console(stderr=True)
    with usage_errors(ValueError, FileNotFoundError, prefix=""):
        asked = asked_of(stage, values)
        run = recall_run(values.out, asked)
    try:
        run = run or _train(stage, values, asked, notes)
    except (OSError, FolderBusyError, ArithmeticError) as error:
        return failed(notes, error)
    from rich.console import Console  # noqa: PLC0415

    Console().print(_table(run))
    notes.print(f"model in {run.best}, curves in {run.folder / 'convergence.png'}")
    recipe = run.settings["recipe"]
    if run.state.best == 0:
        # Boxes in the middle of the photo are hard to beat for a network that is still learning.
        remedy = "--set select=accuracy" if stage == "classifier" else "another --set learning_rate"
        notes.print(
            f"fcam: {recipe['select']} never rose above what it was before training, and that is "
            f"the model which was kept; try more epochs or {remedy}"
        )
    seeds = run.state.history[-1].get("seeds_loss", 0.0)
    if seeds > _UNLEARNT:
        adam = "" if recipe["optimizer"] == "adam" else "--set optimizer=adam, "
        notes.print(
            f"fcam: the seed loss ended at {seeds:.2f}, guessing has 0.69: the maps say little. "
            f"Try {adam}a lower --set loss.crf or more epochs"
        )
    if stage == "classifier":
        out, preset = values.out, values.recipe
        chosen = "" if preset.endswith(".json") else f"--recipe {preset} "
        notes.print(
            f"next: fcam train fcam --data {values.data} --model {out} {chosen}--out {out}-fcam"
        )
    return 0 if report(run, values.data, notes) else 1


def asked_of(stage: str, values: flags.FlagValues) -> dict[str, Any]:
    """Return all that decides a run, as far as it is known without TensorFlow."""
    from fcam_tf import data  # noqa: PLC0415

    splits = []
    for name in ("train", "val"):
        with contextlib.suppress(FileNotFoundError):
            splits.append(data.load(values.data, name))
    preset, weights, model = Path(values.recipe), values.weights, values.model or _BACKBONE
    return {
        "stage": stage,
        "data": split_sha256(*splits, sizes=True),
        "method": values.method,
        "recipe": preset.read_text("utf-8") if preset.suffix == ".json" else values.recipe,
        "set": values.set,
        "skip_broken": values.skip_broken,
        "version": __version__,
        "output_stride": values.output_stride,
        "weights": file_sha256(weights) if Path(weights).is_file() else weights,
        "backbone": model if model in BACKBONES else None,
        "model_sha256": None if model in BACKBONES else identify(model),
    }


def _train(
    stage: str, values: flags.FlagValues, asked: Mapping[str, Any], notes: Console
) -> RunFolder:
    with quiet_tensorflow():
        from fcam_tf import training  # noqa: PLC0415
    with usage_errors(ValueError, FileNotFoundError, prefix=""):
        recipe = training.recipe_of(stage, values.recipe, values.set)
        splits, recipe = training.load_splits(
            stage, values.data, recipe, telling(notes), skip_broken=values.skip_broken
        )
        start = start_of(
            values, model_of(stage, values.model), values.method, asked["model_sha256"]
        )
        return training.train(stage, start, recipe, splits, values.out, asked=asked)


def report(run: RunFolder, root: str, notes: Console) -> bool:
    """Write the report on the test split, and say where it is; tell whether that went well."""
    from fcam_tf import training  # noqa: PLC0415

    try:
        page = training.report(run, root, notes)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        notes.print(f"fcam: the model is there, but not its report: {error}")
        return False
    if page:
        notes.print(f"report on the test split in {page}")
    return True


def start_of(
    values: flags.FlagValues,
    model: str | Callable[[], keras.Model],
    method: str | None,
    model_sha256: str | None = None,
) -> Start:
    """Return what the flags of `define_start` say to start from."""
    from fcam_tf import training  # noqa: PLC0415

    return training.Start(
        model,
        method,
        values.output_stride and int(values.output_stride),
        values.weights,
        values.cams,
        values.strategy == "mirrored",
        model_sha256,
    )


def model_of(stage: str, name: str | None) -> str | Callable[[], keras.Model]:
    """Return the backbone that --model names, or what loads the model."""
    from fcam_tf import models  # noqa: PLC0415

    name = name or _BACKBONE
    if stage == "fcam" or (stage == "fsl" and name not in models.BACKBONES):
        return functools.partial(load_model, name)
    saved = name not in models.BACKBONES and (name.endswith(".keras") or Path(name).is_dir())
    return functools.partial(models.load, name) if saved else name


def _table(run: RunFolder) -> Table:
    from rich.table import Table  # noqa: PLC0415

    from fcam_tf.training.run import VALIDATION_PREFIX  # noqa: PLC0415

    history = run.state.history
    chosen = history[run.state.best]
    table = Table(title=f"{len(history) - 1} epochs, val, %")
    table.add_column("")
    table.add_column("before", justify="right")
    table.add_column(f"chosen: epoch {chosen['epoch']:.0f}", justify="right")
    for name in chosen:
        if name.startswith(VALIDATION_PREFIX):
            label = name.removeprefix(VALIDATION_PREFIX)
            table.add_row(label, f"{history[0][name]:.2f}", f"{chosen[name]:.2f}")
    return table


COMMAND = Command(
    usage="classifier|fcam|fsl --data DATA --out RUN [--model M] [flags]",
    summary="train a classifier, or the decoder that gives its maps full resolution",
    details=_DETAILS,
    define=define_training,
    run=_run,
)
