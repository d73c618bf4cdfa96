"""``fcam search``: the benchmark's random search over what a training depends on."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import app

import fcam_tf
from fcam_tf.commands.arguments import Parser, positive
from fcam_tf.commands.model import Model
from fcam_tf.commands.quiet import load_tensorflow
from fcam_tf.commands.telling import answer_table, failed, note, usage_errors, warn
from fcam_tf.commands.train import add_stage, asked_of, model_of, recipe_and_splits, start_of

_DETAILS = """\
Trains --draws times, each time with other settings drawn at random, and reports which of them
localise best on the val split. The test split is not used. A draw is KEY=LOW..HIGH (whole numbers
if both bounds are), KEY=log:LOW..HIGH (log-uniform) or KEY=A|B|C. Keys are those of the recipe, as
for --set of fcam train.

OUT gets a run folder for each trial, search.csv with a row for each, and best.json: the best
recipe, to train with. The same command resumes where it was stopped; a larger --draws adds trials.
A training that diverges has no score."""
_EXAMPLES = """\
Examples:
  fcam search fcam --data shapes --model runs/shapes --recipe small --out search \\
      --draw learning_rate=log:3e-4..3e-3 --draw loss.negative_fraction=0.1..0.9
  fcam train fcam --data shapes --model runs/shapes --recipe search/best.json --out runs/best
  fcam search classifier --data data/CUB --model resnet50 --method adl --out search-adl \\
      --draw baseline.drop_rate=0..1.0 --draw baseline.threshold=0..1.0 --draws 30"""


def add_to(fcam: Parser) -> None:
    """Add ``fcam search``."""
    usage = "classifier|fcam|fsl --data DATA --out OUT --draw KEY=VALUES [flags]"
    summary = "tune a recipe by random search on the val split"
    parser = fcam.command("search", usage, summary, details=_DETAILS, examples=_EXAMPLES, run=_run)
    add_stage(parser)
    parser.add("--draw KEY=VALUES...", "values of a key of the recipe to draw from")
    parser.add("--draws N", "number of trainings", type=positive, default=8)
    text = "seed of the draws; the trainings' seed is in the recipe (default: 0)"
    parser.add("--seed N", text, type=int, default=0)


def _run(values: argparse.Namespace) -> int:
    model = model_of(values)
    if not values.draw:
        raise app.UsageError("--draw is missing")
    try:
        with usage_errors(ValueError, FileNotFoundError, are_flags=False):
            run_asked = asked_of(values, model)
            asked = {**run_asked, "draw": values.draw, "draws": values.draws, "seed": values.seed}
            done = fcam_tf.training.recall_search(values.out, asked)
            trials = done or _search(values, model, run_asked, asked)
    except RuntimeError as error:
        return failed(error, values)
    best = Path(values.out, "best.json")
    tell(trials, json.loads(best.read_text("utf-8"))["select"])
    note(f"best recipe in {best}")
    return 0


def _search(
    values: argparse.Namespace,
    model: Model | str,
    run_asked: Mapping[str, Any],
    asked: Mapping[str, Any],
) -> list[fcam_tf.training.Trial]:
    load_tensorflow()
    import keras  # noqa: PLC0415

    baselines, training = fcam_tf.baselines, fcam_tf.training
    space = dict(training.parse_space(text) for text in values.draw)
    recipe, splits = recipe_and_splits(values, values.stage, values.set)
    if splits[1] is None:
        raise app.UsageError(
            f"--data {values.data} has no ground truth for val, by which to choose a recipe"
        )
    start = start_of(values, model, values.method, run_asked["weights"])

    def trial(recipe: fcam_tf.training.Recipe, folder: Path) -> fcam_tf.training.RunFolder:
        drawn = {**run_asked, "drawn": dataclasses.asdict(recipe)}
        run = training.recall_run(folder, drawn)
        if run:
            return run
        note(f"trial in {folder}")
        keras.backend.clear_session()
        return training.train(values.stage, start, recipe, splits, folder, asked=drawn)

    of_trials = ("recipe", "set", "version", "reduced", training.run_folder.TIMES)

    def check(recipe: fcam_tf.training.Recipe) -> None:
        if values.stage == "classifier" and values.method in baselines.METHODS:
            baselines.get(values.method, **recipe.baseline)

    return training.search(
        trial,
        recipe,
        space,
        values.out,
        draws=values.draws,
        seed=values.seed,
        about={name: value for name, value in run_asked.items() if name not in of_trials},
        asked=asked,
        check=check,
    )


def tell(trials: list[fcam_tf.training.Trial], select: str) -> None:
    """Write the table of the trials, and warn if the best of them learnt nothing."""
    rows = []
    for trial in sorted(trials, key=lambda trial: 1 if trial.score is None else -trial.score):
        reached = ("diverged", "") if trial.score is None else (f"{trial.score:.2f}", trial.epoch)
        rows.append((trial.number, *trial.settings.values(), *reached))
    columns = ("trial", *trials[0].settings, f"val {select}, %", "epoch")
    title = f"{len(trials)} draws, the best first" if len(trials) > 1 else "1 draw"
    answer_table(columns, rows, title=title)
    best = max(trials, key=lambda trial: -1.0 if trial.score is None else trial.score)
    if best.epoch == 0:
        warn(
            f"nothing was learnt: {select} never rose above its value before training. Draw "
            "other learning rates, or train for more epochs"
        )
