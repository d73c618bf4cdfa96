"""The table that tools print of several trainings: mean and standard deviation of each score."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table


def print_scores(title: str, rows: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Print a row for each name, from its scores of each seed in percent."""
    columns = list(next(iter(rows.values()))[0])
    table = Table(title=title)
    for column in ("", *columns):
        table.add_column(column, justify="right" if column else "left")
    for name, seeds in rows.items():
        cells = []
        for column in columns:
            values = [scores[column] for scores in seeds]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.1f}{spread}")
        table.add_row(name, *cells)
    Console(width=120).print(table)
