"""Random search over the numbers of a recipe, as the benchmark tunes every method alike.

Choe et al. (CVPR 2020, section 5) draw each hyper-parameter at random and keep what localises best
on the validation split. Each trial is an ordinary training run.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcam_tf.atomic import write_atomically, write_csv, write_json
from fcam_tf.claim import claim, differences, read_settings
from fcam_tf.names import parsed
from fcam_tf.training.run_folder import VALIDATION_PREFIX, RunFolder, compare_times, same_asked

if TYPE_CHECKING:
    from fcam_tf.training.recipe import Recipe

_ABOUT, _TABLE, _BEST = "search.json", "search.csv", "best.json"
_FAILED = "failed.txt"


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers between two bounds, both included; whole ones if ``whole``; ``log`` draws log10."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def draw(self, rng: np.random.Generator) -> float:
        """Draw a number."""
        if self.whole and not self.log:
            return int(rng.integers(int(self.low), int(self.high), endpoint=True))
        if self.log:
            value = 10 ** rng.uniform(math.log10(self.low), math.log10(self.high))
        else:
            value = rng.uniform(self.low, self.high)
        value = round(value) if self.whole else float(f"{value:.4g}")
        return min(max(value, self.low), self.high)  # rounding may leave the range


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]

    def draw(self, rng: np.random.Generator) -> Any:
        """Draw a value."""
        return self.values[rng.integers(len(self.values))]


def parse_space(text: str) -> tuple[str, Range | Choice]:
    """Read ``KEY=LOW..HIGH``, ``KEY=log:LOW..HIGH`` or ``KEY=A|B|C``.

    Bounds that are whole numbers give whole numbers; values are JSON, or text where they are not.

    Raises:
        ValueError: it is none of these.
    """
    key, _, values = text.partition("=")
    wrong = ValueError(
        "`draw` must be KEY=LOW..HIGH, KEY=log:LOW..HIGH or KEY=A|B|C; LOW is the smaller number, "
        f"and above 0 where it is logarithmic. Received: {text!r}."
    )
    if not key or not values:
        raise wrong
    if ".." not in values:
        return key, Choice(tuple(map(parsed, values.split("|"))))
    bounds, log = values.removeprefix("log:").split(".."), values.startswith("log:")
    whole = all(bound.lstrip("+-").isdigit() for bound in bounds)
    try:
        low, high = (int(bound) if whole else float(bound) for bound in bounds)
    except ValueError:
        raise wrong from None
    if not -math.inf < low <= high < math.inf or (log and low <= 0):
        raise wrong
    return key, Range(low, high, log, whole)


def drawn(space: Mapping[str, Range | Choice], seed: int, number: int) -> dict[str, Any]:
    """Return the settings of one trial, which depend on seed, number and key alone."""
    return {
        key: values.draw(np.random.default_rng([seed, number, zlib.crc32(key.encode())]))
        for key, values in space.items()
    }


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training of a search."""

    number: int  # from 0
    settings: dict[str, Any]  # what was drawn
    score: float | None  # the best on the validation split, percent; None if training diverged
    epoch: int | None  # the one that reached it


def search(
    train: Callable[[Recipe, Path], RunFolder],
    recipe: Recipe,
    space: Mapping[str, Range | Choice],
    out: str | Path,
    *,
    draws: int,
    seed: int = 0,
    about: Mapping[str, Any] | None = None,
    asked: Mapping[str, Any] | None = None,
    check: Callable[[Recipe], Any] = lambda recipe: recipe,
) -> list[Trial]:
    """Train with settings drawn at random, and keep the recipe that localises best.

    A search that was stopped goes on where it was; with more ``draws`` it is continued. Writes
    ``trial-N`` (the runs), ``search.csv`` (a row for each) and ``best.json`` (the best recipe).

    Args:
        train: trains by a recipe into a folder, selecting by ``recipe.select``.
        recipe: everything that is not drawn.
        space: what is drawn, by key as of `Recipe.changed`.
        out: folder of the search.
        draws: number of trials.
        seed: of the draws.
        about: what else the search depends on, as JSON values.
        asked: what `recall_search` will know the finished search by.
        check: raises a ValueError for a recipe that cannot be trained by. It sees all of them
            before the first training.

    Returns:
        The trials in their order.

    Raises:
        ValueError: a key or value that the recipe does not take, no draws, or nothing to draw.
        SettingsChangedError: ``out`` holds another search.
        FolderBusyError: another process is searching in ``out``.
        RuntimeError: every training diverged.
    """
    if draws < 1 or not space:
        raise ValueError(
            f"`draws` must be 1 or more, and `space` not empty. Received: {draws}, {space}."
        )
    # Else scores would not compare, or trials would train on what was loaded for others.
    if fixed := sorted({"select", "val_fraction", "val_per_class", "proxy"} & {*space}):
        raise ValueError(f"`draw` must not change {fixed[0]}, by which trials are compared.")
    drawings = [drawn(space, seed, number) for number in range(draws)]
    recipes = [
        recipe.changed([f"{key}={json.dumps(value)}" for key, value in drawing.items()])
        for drawing in drawings
    ]
    for chosen in recipes:
        check(chosen)
    out = Path(out)
    settings = _settings(recipe, space, seed, about)
    trials: list[Trial] = []
    rows: list[dict[str, Any]] = []
    notes = asked and {"asked": asked}
    with claim(out, settings, [_TABLE, "trial-*"], file=_ABOUT, notes=notes) as claimed:
        claimed.begin()
        for number, (chosen, drawing) in enumerate(zip(recipes, drawings, strict=True)):
            score, epoch = _trial(train, chosen, out / f"trial-{number}")
            trials.append(Trial(number, drawing, score, epoch))
            scores = {trial.number: trial.score for trial in trials if trial.score is not None}
            if scores:
                best = recipes[max(scores, key=scores.__getitem__)]
                write_json(out / _BEST, dataclasses.asdict(best))
            rows.append({"trial": number, **drawing, "score": score, "epoch": epoch})
            write_csv(out / _TABLE, rows)  # last: what is in it is finished
    if not scores:
        raise RuntimeError(f"every training of {out} diverged. Draw smaller learning rates.")
    return trials


def changed_search(
    out: str | Path,
    recipe: Recipe,
    space: Mapping[str, Range | Choice],
    *,
    seed: int = 0,
    about: Mapping[str, Any] | None = None,
) -> list[str]:
    """Say which settings `search` would refuse to go on with; its arguments are those."""
    begun = any(Path(out).glob("trial-*"))
    settings = _settings(recipe, space, seed, about)
    return differences(Path(out, _ABOUT), settings) if begun else []


def _settings(
    recipe: Recipe,
    space: Mapping[str, Range | Choice],
    seed: int,
    about: Mapping[str, Any] | None,
) -> dict[str, Any]:
    return {
        "recipe": dataclasses.asdict(recipe),
        "space": {key: dataclasses.asdict(values) for key, values in space.items()},
        "seed": seed,
        **(about or {}),
    }


def recall_search(out: str | Path, asked: Mapping[str, Any]) -> list[Trial] | None:
    """Return the trials of the finished search in a folder, if the same was asked for.

    Args:
        out: the folder.
        asked: all that decides the search, its ``draws`` included, as JSON values.
    """
    out = Path(out)
    _, notes = read_settings(out / _ABOUT)
    whole = all((out / name).is_file() for name in (_BEST, _TABLE))
    if not (same_asked(notes.get("asked"), asked) and whole):
        return None
    with (out / _TABLE).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if len(rows) != asked["draws"] or not all((out / f"trial-{r['trial']}").is_dir() for r in rows):
        return None
    compare_times(notes["asked"], asked)
    return [
        Trial(
            int(row.pop("trial")),
            score=float(score) if (score := row.pop("score")) else None,
            epoch=int(epoch) if (epoch := row.pop("epoch")) else None,
            settings=row,
        )
        for row in rows
    ]


def _trial(
    train: Callable[[Recipe, Path], RunFolder], recipe: Recipe, folder: Path
) -> tuple[float, int] | tuple[None, None]:
    """Return score and epoch of a training; None where it diverged."""
    from fcam_tf.training.callbacks import TrainingDivergedError  # noqa: PLC0415 - TensorFlow

    failed = folder / _FAILED
    if not failed.exists():
        try:
            run = train(recipe, folder)
            return run.chosen[VALIDATION_PREFIX + recipe.select], int(run.chosen["epoch"])
        except TrainingDivergedError as error:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(failed, f"{error}\n".encode())
    return None, None
