"""The tables whose numbers are trained for: Tables 1, 3 and 5."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fcam_tf.paper.cells import work_off
from fcam_tf.paper.results import LOCALISATION, Entry, cells_of, summarise
from fcam_tf.paper.rows import Row
from fcam_tf.paper.study import Study
from fcam_tf.paper.writing import write_table


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
        ValueError, FileNotFoundError: see `Study.check` and `Study.score`.
        RuntimeError: every training diverged; nothing is written.
    """
    cells = cells_of(rows, backbones, seeds)
    study.check(cells)
    found = work_off(cells, study.score, study.tell)
    if missing := [cell.told for cell in cells if cell not in found]:
        study.tell(f"missing in {name}: {'; '.join(missing)}")
    entries = summarise(rows, backbones, seeds, found, metrics)
    title = f"{name}: {Path(study.root).name}, test, {seeds} seed{'s' * (seeds != 1)}"
    return entries, write_table(study.out, name, title, entries)
