"""``fcam train``: a classifier, then the decoder of its full-resolution map."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app

import fcam_tf
from fcam_tf.commands.arguments import Parser, add_cams, add_model, add_training, flag_of, given
from fcam_tf.commands.model import Model, find_model, is_saved
from fcam_tf.commands.quiet import load_tensorflow
from fcam_tf.commands.telling import answer_table, console, note, reason_of, usage_errors, warn
from fcam_tf.names import BACKBONES, BASELINES, METHODS, is_backbone, lookup

if TYPE_CHECKING:
    from fcam_tf.training.cluster import Cluster

_BACKBONE = "efficientnetlite_b0"
_UNLEARNT = 0.6  # of the seed loss, which is ln 2 for a map that is 0.5 everywhere

_DETAILS = """\
Training has two stages. The first trains a classifier on images and their labels, without boxes or
masks. The second freezes it and trains a decoder on top of it, whose map has the resolution of the
image. The decoder learns from a few pixels of the classifier's own coarse map (--method), from the
colours of the image, and from a constraint that keeps object and background from vanishing. MODEL
is what a stage starts from: a backbone for the first (default: efficientnetlite_b0), and a trained
classifier for the second.

The stage fsl is few-shot full supervision, with which the others are compared. The decoder learns
from the masks of the val split, or its filled boxes: four fifths of the split are used for
training, and one fifth chooses the epoch.

DATA is a folder in the benchmark's layout, a folder of class folders with or without train/ and
val/ around them, tfds:NAME, or shapes (generated). If its val split has boxes or masks, they choose
the best epoch; otherwise the classifier's accuracy does. Only the stage fsl trains on them.

OUT gets run.json (recipe, versions), metrics.csv, convergence.png and best.keras. It also gets logs
for TensorBoard, if that is installed, and test/ with the report of fcam evaluate, if there is a
test split with boxes or masks. The same command resumes a run that was stopped. No flag discards
what took hours: to start again, remove OUT."""
_EXAMPLES = """\
Examples:
  fcam train classifier --data shapes --recipe small --out runs/shapes
  fcam train fcam --data shapes --model runs/shapes --recipe small --set loss.crf=4e-9 \\
      --out runs/shapes-fcam
  fcam train classifier --data data/CUB --model resnet50 --out runs/cub
  fcam train fcam --data data/CUB --model runs/cub --method layercam --out runs/cub-fcam \\
      --set loss.negative_fraction=0.3
  fcam train classifier --data data/CUB --model resnet50 --method adl --out runs/cub-adl \\
      --set baseline.drop_rate=0.6
  fcam train fsl --data data/CUB --model resnet50 --set decoder=linear --out runs/cub-fsl"""


def add_to(fcam: Parser) -> None:
    """Add ``fcam train``."""
    usage = "classifier|fcam|fsl --data DATA --out RUN [--model MODEL] [flags]"
    summary = "train a classifier, or the decoder that gives its maps full resolution"
    parser = fcam.command("train", usage, summary, details=_DETAILS, examples=_EXAMPLES, run=_run)
    add_stage(parser, machines=True)


def add_stage(parser: Parser, *, machines: bool = False) -> None:
    """Add the arguments that say what is trained, on what, by which recipe and where to.

    Args:
        parser: what to add to.
        machines: for a command that can train on several.
    """
    stages = ("classifier", "fcam", "fsl")
    parser.add("stage STAGE", "what to train: classifier, fcam or fsl", choices=stages)
    parser.add("-o --out FOLDER", "folder to write to", required=True)
    add_model(parser)
    parser.add(
        "--method METHOD",
        "method whose maps are scored, and teach the decoder: %(choices)s (default: cam, or what "
        "MODEL was trained with)",
        choices=(*METHODS, *BASELINES),
    )
    add_training(parser, machines=machines)
    add_cams(parser)


def _run(values: argparse.Namespace) -> int:
    model = model_of(values)
    with usage_errors(ValueError, TypeError, FileNotFoundError, are_flags=False):
        cluster = _cluster(values.strategy)
        asked = asked_of(values, model)
        # Of several machines the first alone has the run: it tells the others that it is finished.
        known = None if cluster else fcam_tf.training.recall_run(values.out, asked)
        run = known or _train(values, model, asked, cluster)
    if cluster and cluster.index:
        note(f"worker {cluster.index} is done; the run is in {values.out} of worker 0")
        return 0
    _tell_scores(run)
    note(f"model in {run.best}, curves in {run.folder / 'convergence.png'}")
    if values.stage == "classifier":
        note(f"next: {_decoders_training(values)}")
    return 0 if report(run, values) else 1


def _decoders_training(values: argparse.Namespace) -> str:
    """Return the command of the training that puts a decoder on this classifier."""
    flags = ["--data", values.data, "--model", values.out, "--out", f"{values.out}-fcam"]
    if not values.recipe.endswith(".json"):  # which may hold more of this stage
        flags += ["--recipe", values.recipe]
    # Photos of other sizes would be other photos to it.
    sizes = [text for text in values.set if text.partition("=")[0] in ("crop", "resize")]
    flags += [flag for text in sizes for flag in ("--set", text)]
    flags += [flag for file in values.imports for flag in ("--import", file)]
    return shlex.join(["fcam", "train", "fcam", *flags])


def _cluster(strategy: str) -> Cluster | None:
    """Return the machines to train on; None where it is this one alone.

    Raises:
        ValueError: TF_CONFIG and the strategy do not fit.
    """
    from fcam_tf.training.cluster import cluster_of  # noqa: PLC0415 - help does without

    cluster = cluster_of(os.environ.get("TF_CONFIG"))
    if cluster and strategy != "multiworker":
        raise ValueError(
            f"TF_CONFIG names {len(cluster.addresses)} workers, and --strategy {strategy} would "
            "train on each by itself; add --strategy multiworker, or unset TF_CONFIG"
        )
    if strategy == "multiworker" and not cluster:
        raise ValueError(
            "--strategy multiworker needs the environment variable TF_CONFIG, which names two "
            "workers or more; for the GPUs of one machine give --strategy mirrored"
        )
    return cluster


def _train(
    values: argparse.Namespace,
    model: Model | str,
    asked: Mapping[str, Any],
    cluster: Cluster | None,
) -> fcam_tf.training.RunFolder:
    load_tensorflow()
    if cluster:
        note(f"worker {cluster.index} waits for all workers: {', '.join(cluster.addresses)}")
    with fcam_tf.training.together() if cluster else contextlib.nullcontext():
        recipe, splits = recipe_and_splits(values, values.stage, values.set)
        start = start_of(values, model, values.method, asked["weights"])
        return fcam_tf.training.train(values.stage, start, recipe, splits, values.out, asked=asked)


def model_of(values: argparse.Namespace) -> Model | str:
    """Return what the stage starts from: a model, or the name of a backbone.

    Raises:
        absl.app.UsageError: there is no such thing.
    """
    name = values.model or _BACKBONE
    if values.stage == "fcam":
        if not values.model:
            raise app.UsageError("--model is missing")
    elif is_backbone(name):
        return name
    elif values.stage == "classifier" and not is_saved(name):
        with usage_errors(ValueError):
            lookup(dict.fromkeys(BACKBONES), name, "model")
    if unused := given(values, ("output_stride", "weights")):
        flag = flag_of(unused[0])
        raise app.UsageError(f"{flag} is for a backbone given by name, and --model is {name}")
    return find_model(name)


def asked_of(values: argparse.Namespace, model: Model | str) -> dict[str, Any]:
    """Return everything that decides a run, as far as it is known without TensorFlow."""
    from fcam_tf.identity import split_sha256, times_sha256, weights_identity  # noqa: PLC0415

    splits = []
    for name in ("train", "val"):
        with contextlib.suppress(FileNotFoundError):
            splits.append(fcam_tf.data.load(values.data, name))
    preset = Path(values.recipe)
    return {
        "stage": values.stage,
        "data": split_sha256(*splits, sizes=True),
        fcam_tf.training.run_folder.TIMES: times_sha256(*splits),
        **fcam_tf.data.reduced_sha256(values.data),
        "method": values.method,
        "recipe": preset.read_text("utf-8") if preset.suffix == ".json" else values.recipe,
        "set": values.set,
        "skip_broken": values.skip_broken,
        "strategy": values.strategy,
        "version": fcam_tf.__version__,
        "output_stride": values.output_stride,
        "weights": weights_identity(values.weights),
        "backbone": model if isinstance(model, str) else None,
        "model_sha256": None if isinstance(model, str) else model.sha256,
    }


def recipe_and_splits(
    values: argparse.Namespace, stage: str, settings: list[str]
) -> tuple[fcam_tf.training.Recipe, Any]:
    """Return the recipe and the splits of a stage; see `fcam_tf.training.load_splits`."""
    recipe = fcam_tf.training.recipe_of(stage, values.recipe, settings)
    uses_cams = stage != "classifier" or "stage" in values  # of `fcam zoo make` the decoder alone
    if values.cams and uses_cams and getattr(recipe, "cams", None) != "stored":
        raise ValueError(
            f"--cams is the folder of stored maps, and {stage} trains without them: add --set "
            "cams=stored for a decoder, or leave --cams out"
        )
    if recipe.epochs == 0:
        note("epochs=0: nothing is trained; the model is scored and kept as it is")
    splits, recipe = fcam_tf.training.load_splits(
        stage, values.data, recipe, warn, skip_broken=values.skip_broken
    )
    return recipe, splits


def start_of(
    values: argparse.Namespace, model: Model | str, method: str | None, weights: str | None = None
) -> fcam_tf.training.Start:
    """Return what the flags of `add_training` say to start from.

    ``weights`` is what `asked_of` knows the initial weights by.
    """
    return fcam_tf.training.Start(
        model if isinstance(model, str) else model.load,
        method,
        values.output_stride and int(values.output_stride),
        values.weights,
        values.cams,
        values.strategy == "mirrored",
        None if isinstance(model, str) else model.sha256,
        weights,
    )


def report(run: fcam_tf.training.RunFolder, values: argparse.Namespace) -> bool:
    """Warn of what was not learnt, write the report on the test split; tell if that went well."""
    _warn_of(run)
    try:
        page = fcam_tf.training.report(
            run, values.data, console(), skip_broken=values.skip_broken, tell=warn
        )
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        warn(f"the model is finished, but its report failed: {reason_of(error)}")
        return False
    if page:
        note(f"report on the test split in {page}")
    return True


def _warn_of(run: fcam_tf.training.RunFolder) -> None:
    """Warn of a training that ended no better than it began."""
    recipe = run.settings["recipe"]
    if run.state.best == 0 and run.state.epoch:
        # Boxes in the middle of the photo are hard to beat for a network that is still learning.
        by_boxes = "loss" not in recipe and recipe["select"] != "accuracy"
        remedy = "--set select=accuracy" if by_boxes else "another --set learning_rate"
        warn(
            f"{recipe['select']} never rose above its value before training, so the model from "
            f"before training was kept; try more epochs or {remedy}"
        )
    seeds = run.state.history[-1].get("seeds_loss", 0.0)
    if seeds > _UNLEARNT:
        adam = "" if recipe["optimizer"] == "adam" else "--set optimizer=adam, "
        warn(
            f"the seed loss ended at {seeds:.2f}, and guessing gives 0.69: the maps carry little "
            f"information. Try {adam}a lower --set loss.crf or more epochs"
        )


def _tell_scores(run: fcam_tf.training.RunFolder) -> None:
    prefix, history = fcam_tf.training.run_folder.VALIDATION_PREFIX, run.state.history
    before, chosen = history[0], run.chosen
    rows = [
        (name.removeprefix(prefix), f"{before[name]:.2f}", f"{chosen[name]:.2f}")
        for name in chosen
        if name.startswith(prefix)
    ]
    columns = ("", "before", f"chosen: epoch {chosen['epoch']:.0f}")
    if rows:  # else there is no val, such as of a few photos
        epochs = len(history) - 1
        answer_table(columns, rows, title=f"{epochs} epoch{'s' * (epochs != 1)}, val, %")
