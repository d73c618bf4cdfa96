"""``fcam search``: the benchmark's random search over what a training depends on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from absl import app, flags

from fcam_tf.commands.command import Command
from fcam_tf.commands.quiet import quiet_tensorflow
from fcam_tf.commands.telling import console, failed, telling, usage_errors
from fcam_tf.commands.train import asked_of, check_stage, define_training, model_of, start_of

if TYPE_CHECKING:
    from rich.table import Table

    from fcam_tf.training import Recipe, RunFolder, Trial

_DETAILS = """\
Trains --draws times, each time with other numbers, drawn at random, and says which localise best on
the val split. The test split is not looked at. A draw is KEY=LOW..HIGH (whole numbers if both
bounds are), KEY=log:LOW..HIGH (the same chance for each power of ten) or KEY=A|B|C; keys are those
of the recipe, as for --set of fcam train.

OUT gets a run folder for each trial, search.csv with a row for each, and best.json: the recipe to
go on with. The same command goes on where it was stopped; with more --draws it is continued. A
training that diverges counts as none.

Exit status: 0 all went well, 1 something failed, 2 wrong usage, 130 interrupted.

Examples:
  fcam search fcam --data shapes --model runs/shapes --recipe small --out search \\
      --draw learning_rate=log:3e-4..3e-3 --draw loss.negative_share=0.1..0.9
  fcam train fcam --data shapes --model runs/shapes --recipe search/best.json --out runs/best
  fcam search classifier --data data/CUB --model resnet50 --method adl --out search-adl \\
      --draw baseline.drop_rate=0..1.0 --draw baseline.threshold=0..1.0 --draws 30"""


def _define(values: flags.FlagValues) -> None:
    define_training(values)
    flags.DEFINE_multi_string(
        "draw", [], "`KEY=VALUES` to draw from; may be repeated", flag_values=values
    )
    flags.DEFINE_integer("draws", 8, "number of trainings", flag_values=values)
    flags.DEFINE_integer(
        "seed", 0, "of the draws; the recipe's own seeds the trainings", flag_values=values
    )


def _run(values: flags.FlagValues, arguments: list[str]) -> int:
    stage = check_stage(values, arguments)
    if not values.draw:
        raise app.UsageError("--draw is missing")
    notes = console(stderr=True)
    with quiet_tensorflow():
        import keras  # noqa: PLC0415

        from fcam_tf import baselines, training  # noqa: PLC0415
    with usage_errors(ValueError, FileNotFoundError, prefix=""):
        recipe = training.recipe_of(stage, values.recipe, values.set)
        space = dict(training.parse_space(text) for text in values.draw)
        asked = asked_of(stage, values)
        start = start_of(
            values, model_of(stage, values.model), values.method, asked["model_sha256"]
        )
        splits, recipe = training.load_splits(
            stage, values.data, recipe, telling(notes), skip_broken=values.skip_broken
        )
    if splits[1] is None:
        raise app.UsageError(f"--data {values.data} has nothing to choose by: no truth for val")

    def trial(recipe: Recipe, folder: Path) -> RunFolder:
        drawn = {**asked, "drawn": dataclasses.asdict(recipe)}
        run = training.recall_run(folder, drawn)
        if run:
            return run
        notes.print(f"trial in {folder}")
        keras.backend.clear_session()
        return training.train(stage, start, recipe, splits, folder, asked=drawn)

    def check(recipe: Recipe) -> None:
        if stage == "classifier" and values.method in baselines.METHODS:
            baselines.get(values.method, **recipe.baseline)

    about = {key: asked[key] for key in asked.keys() - {"recipe", "set", "version"}}
    try:
        with usage_errors(ValueError, FileNotFoundError, prefix=""):
            trials = training.search(
                trial,
                recipe,
                space,
                values.out,
                draws=values.draws,
                seed=values.seed,
                about=about,
                check=check,
            )
    except (OSError, RuntimeError) as error:
        return failed(notes, error)
    from rich.console import Console  # noqa: PLC0415

    Console().print(_table(trials, recipe.select))
    notes.print(f"best recipe in {Path(values.out, 'best.json')}")
    return 0


def _table(trials: list[Trial], select: str) -> Table:
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=f"{len(trials)} draws, the best first")
    for column in ("trial", *trials[0].settings, f"val {select}, %", "epoch"):
        table.add_column(column, justify="right")
    for trial in sorted(trials, key=lambda trial: 1 if trial.score is None else -trial.score):
        reached = ("diverged", "") if trial.score is None else (f"{trial.score:.2f}", trial.epoch)
        table.add_row(*map(str, (trial.number, *trial.settings.values(), *reached)))
    return table


COMMAND = Command(
    usage="classifier|fcam --data DATA --out OUT --draw KEY=VALUES [flags]",
    summary="tune what is trained with, by random search on the val split",
    details=_DETAILS,
    define=_define,
    run=_run,
)
