"""What is trained for: the cells of tables and figures, Tables 1, 3 and 5, what Figure 3 shows."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from fcam_tf import training
from fcam_tf.losses import FCAMLoss
from fcam_tf.names import CENTER
from fcam_tf.paper.cells import Cell, work_off
from fcam_tf.paper.panels import Curve
from fcam_tf.paper.results import LOCALISATION, Entry, cells_of, summarise
from fcam_tf.paper.rows import Row
from fcam_tf.paper.study import Study
from fcam_tf.paper.writing import write_table

T = TypeVar("T")


def train_all(
    study: Study, name: str, cells: Sequence[Cell], score: Callable[[Cell], T]
) -> dict[Cell, T]:
    """Train what cells need; tell which diverged, and add these to ``study.missing``.

    Args:
        study: the data, the recipes and the folder.
        name: of the table or figure.
        cells: what is needed.
        score: what is wanted of a cell: `Study.score`, `Study.classifier` or `Study.fcam`.

    Raises:
        ValueError, FileNotFoundError: see `Study.check` and `Study.score`.
    """
    study.check(cells)
    found = work_off(cells, score, study.tell)
    if missing := [cell for cell in cells if cell not in found]:
        study.tell(f"missing in {name}: {'; '.join(cell.told for cell in missing)}")
    study.missing.extend(missing)
    return found


def data_name(study: Study) -> str:
    """Return what titles call the data set: the name of its folder, also where that is "."."""
    path = Path(study.root)
    return path.name if path.name.strip(".") else path.resolve().name


def told_seeds(seeds: int, found: Iterable[int] = ()) -> str:
    """Say how many trainings means are of.

    Args:
        seeds: how many each should be of.
        found: how many there are of each that there is.
    """
    least = min(found, default=seeds)
    few = f"at least {least} of " if least < seeds else ""
    return f"{few}{seeds} seed{'s' * (seeds != 1)}"


def figure_title(study: Study, split: str, curves: Sequence[Curve], seeds: int, what: str) -> str:
    """Return the title of curves: data set, split, method if there is one, seeds, what it is."""
    methods = list(dict.fromkeys(curve.method for curve in curves))
    method = f", {methods[0]}" if len(methods) == 1 else ""
    found = Counter((curve.backbone, curve.row, curve.what) for curve in curves)
    told = told_seeds(seeds, found.values())
    return f"{data_name(study)}, {split}{method}, {told}: {what}"


def check_terms(study: Study, rows: Sequence[Row]) -> None:
    """Raise a ValueError where a row would be trained without a loss that it is named after."""
    for row in rows:
        recipe = training.recipe_of("fcam", study.recipe, (*study.fcam_set, *row.settings))
        loss = FCAMLoss(**getattr(recipe, "loss", {}))
        for term in row.terms:
            first, _ = loss.windows.get(term, (1, None))
            why = ""
            if not loss.weights[term]:
                why = f"has loss.{term}=0"
            elif first > recipe.epochs:
                why = f"ends with epoch {recipe.epochs}, and loss.{term} begins in epoch {first}"
            if why:
                raise ValueError(
                    f"the row {row.title!r} would be trained without loss.{term}: the F-CAMs' "
                    f"recipe {why}. Change that, or compare losses with `vary`."
                )


def table(
    study: Study,
    name: str,
    rows: Sequence[Row],
    backbones: Sequence[str],
    seeds: int,
    *,
    metrics: Sequence[str] = LOCALISATION,
) -> tuple[list[Entry], list[Path]]:
    """Train and score what a table needs, and write it, see `write_table`.

    Where a training diverged, a dash stands in it.

    Args:
        study: the data, the recipes and the folder.
        name: of the files.
        rows: of the table.
        backbones: its columns.
        seeds: trainings of each.
        metrics: what is shown.

    Returns:
        The entries, and the files.

    Raises:
        ValueError, FileNotFoundError: see `check_terms`, `Study.check` and `Study.score`.
        RuntimeError: every training diverged; nothing is written.
    """
    check_terms(study, rows)
    found = train_all(study, name, cells_of(rows, backbones, seeds), study.score)
    entries = summarise(rows, backbones, seeds, found, metrics, recipe=study.recipe)
    title = f"{name}: {data_name(study)}, test, {told_seeds(seeds)}"
    return entries, write_table(study.out, name, title, entries, study.recipe)


def reached(
    study: Study, name: str, rows: Sequence[Row], backbones: Sequence[str], seeds: int
) -> tuple[dict[str, float], str]:
    """Train and score rows as a table does.

    Arguments and errors are those of `table`; the test split must have masks.

    Returns:
        The mean PxAP of each row by its title, which stands behind the backbone if there are
        several; and of how many seeds they are.
    """
    found = train_all(study, name, cells_of(rows, backbones, seeds), study.score)
    means, counts = {}, []
    for backbone in backbones:
        for row in rows:
            runs = [found[cell] for cell in row.cells(backbone, seeds) if cell in found]
            alone = len(backbones) == 1 or row.method == CENTER
            if runs:
                if row.method != CENTER:  # which is not trained
                    counts.append(len(runs))
                title = row.title if alone else f"{backbone}, {row.title}"
                means[title] = statistics.mean(run.metrics["PxAP"] for run in runs)
    return means, told_seeds(seeds, counts)
