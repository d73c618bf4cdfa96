"""What the tools share: starting, timing, and the tables that they print."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from absl import app
from rich.console import Console
from rich.table import Table


def start(main: Callable[[], None]) -> None:
    """Parse the flags, refuse other arguments, and run ``main``."""

    def checked(argv: Sequence[str]) -> None:
        if len(argv) > 1:
            raise app.UsageError(f"unexpected arguments: {argv[1:]}")
        main()

    app.run(checked)


def times(
    calls: Mapping[str, Callable[[], Any]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the seconds of each call in each round by a clock, after one to warm up.

    All calls of a round follow one another, so that a slow moment of the machine hits all of them.
    """
    import keras  # noqa: PLC0415 - after the flags were read

    found: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            begin = clock()
            keras.tree.map_structure(np.asarray, call())  # waits for what is still computed
            found[name].append(clock() - begin)
    return found


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text, the first column to the left and the others to the right."""
    table = Table()
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    for row in rows:
        table.add_row(*row)
    print(title)
    Console(width=150).print(table)


def print_scores(title: str, rows: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Print mean and standard deviation of each score, from those of each seed in percent."""
    columns = list(next(iter(rows.values()))[0])

    def cell(values: list[float]) -> str:
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.1f}{spread}"

    table = [
        [name, *(cell([scores[column] for scores in seeds]) for column in columns)]
        for name, seeds in rows.items()
    ]
    print_table(title, ["", *columns], table)
