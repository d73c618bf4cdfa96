"""What the cells of a table come to: means over seeds and backbones, beside the paper's numbers."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from fcam_tf.evaluation import StoredEvaluation
from fcam_tf.paper.bootstrap import Interval, Statistic, mean_over, paired, statistic_of
from fcam_tf.paper.cells import Cell
from fcam_tf.paper.published import BACKBONES, MEAN, published
from fcam_tf.paper.rows import Row

LOCALISATION = ("MaxBoxAcc", "MaxBoxAccV2", "PxAP")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One number of a table, in percent.

    Attributes:
        metric: what is measured.
        row: title of the row.
        column: the backbone, or `published.MEAN`.
        mean: over the seeds, and of the column of means over the backbones; None where trainings
            are missing.
        deviation: standard deviation over the seeds; None of fewer than two.
        seeds: how many there are.
        published: what the paper prints there, on its own data; None where it prints nothing.
        gain: on the row that this one improves on, with its interval over the images.
        missing: how many seeds there should be besides, of a backbone at most.
    """

    metric: str
    row: str
    column: str
    mean: float | None = None
    deviation: float | None = None
    seeds: int = 0
    published: float | None = None
    gain: Interval | None = None
    missing: int = 0

    @property
    def difference(self) -> float | None:
        """By how much ours is above the paper's."""
        if self.mean is None or self.published is None:
            return None
        return self.mean - self.published


def cells_of(rows: Sequence[Row], backbones: Sequence[str], seeds: int) -> list[Cell]:
    """Return the cells of a table, those of the first seed of all backbones first."""
    cells = [cell for name in backbones for row in rows for cell in row.cells(name, seeds)]
    return sorted(dict.fromkeys(cells), key=lambda cell: cell.seed)


def summarise(
    rows: Sequence[Row],
    backbones: Sequence[str],
    seeds: int,
    found: Mapping[Cell, StoredEvaluation],
    metrics: Sequence[str],
    *,
    recipe: str = "",
) -> list[Entry]:
    """Return the entries of a table by metric, row and column; metrics without truth are left out.

    Args:
        rows: of the table.
        backbones: its columns, before that of their means where there are several.
        seeds: how many of each.
        found: the scores, as far as there are any.
        metrics: names, as in the metrics of an evaluation.
        recipe: of the table, which says what is printed, see `published`.
    """
    known = [m for m in metrics if any(run.metrics[m] is not None for run in found.values())]
    titles = {row.title: row for row in rows}
    entries = []
    for metric in known:
        for row in rows:
            mine, pairs = [], []
            for name in backbones:
                runs = [found.get(cell) for cell in row.cells(name, seeds)]
                both = _pairs(titles.get(row.before), row, name, seeds, found)
                mine.append(_entry(metric, row, name, runs, _gain([both], metric), recipe=recipe))
                pairs.append(both)
            entries += mine
            if len(backbones) > 1:
                entries.append(_mean(metric, row, mine, _gain(pairs, metric), recipe))
    return entries


def _entry(
    metric: str,
    row: Row,
    column: str,
    runs: Sequence[StoredEvaluation | None],
    gain: Interval | None,
    *,
    recipe: str,
) -> Entry:
    found = [run.metrics[metric] for run in runs if run]
    values = [value for value in found if value is not None]
    return Entry(
        metric,
        row.title,
        column,
        statistics.mean(values) if values else None,
        statistics.stdev(values) if len(values) > 1 else None,
        len(values),
        _printed(metric, row, column, recipe),
        gain,
        runs.count(None),
    )


def _mean(
    metric: str, row: Row, entries: Sequence[Entry], gain: Interval | None, recipe: str
) -> Entry:
    """Return the column of means, where no backbone is missing."""
    means = [entry.mean for entry in entries if entry.mean is not None]
    same = {entry.column for entry in entries} == BACKBONES
    return Entry(
        metric,
        row.title,
        MEAN,
        statistics.mean(means) if len(means) == len(entries) else None,
        seeds=min(entry.seeds for entry in entries),
        missing=max(entry.missing for entry in entries),
        published=_printed(metric, row, MEAN, recipe) if same else None,
        gain=gain,
    )


def _printed(metric: str, row: Row, column: str, recipe: str) -> float | None:
    return published(recipe).get((metric, row.published or row.title, column))


def _pairs(
    before: Row | None,
    row: Row,
    backbone: str,
    seeds: int,
    found: Mapping[Cell, StoredEvaluation],
) -> list[tuple[StoredEvaluation, StoredEvaluation]]:
    """Return the scores of the row that is improved on, and of this one, for each seed."""
    if before is None:
        return []
    cells = zip(before.cells(backbone, seeds), row.cells(backbone, seeds), strict=True)
    return [(found[a], found[b]) for a, b in cells if a in found and b in found]


def _gain(
    backbones: Sequence[Sequence[tuple[StoredEvaluation, StoredEvaluation]]], metric: str
) -> Interval | None:
    """Return the gain over the pairs of each backbone, where none of them lacks all.

    Each backbone counts the same, as in the mean of the scores, however many trainings it has.
    """
    if not all(backbones) or metric not in LOCALISATION:
        return None

    def mean(runs: Sequence[StoredEvaluation]) -> Statistic:
        return mean_over([statistic_of(run, metric) for run in runs])

    sides = [zip(*pairs, strict=True) for pairs in backbones]
    measured = [(mean(before), mean(after)) for before, after in sides]
    return paired(measured, len(backbones[0][0][0].rows))
