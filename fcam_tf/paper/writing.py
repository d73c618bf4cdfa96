"""Tables as files: CSV with every number, Markdown and LaTeX to be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fcam_tf.atomic import write_atomically, write_csv
from fcam_tf.paper.published import MEAN, data_of
from fcam_tf.paper.results import Entry

MISSING = "—"
_LATEX = {
    **{letter: rf"\{letter}" for letter in "{}_%&#$"},
    "\\": r"\textbackslash{}",
    "^": r"\^{}",
    "~": r"\~{}",
    "±": r"$\pm$",
    MISSING: "--",
}

# A table that is too wide is scaled down to the lines of text; that takes \usepackage{graphicx}.
_FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{% \usepackage{graphicx}"


class Grid(NamedTuple):
    """A table as text, and which of its cells are the best of their column."""

    caption: str
    heads: list[str]
    rows: list[list[str]]
    best: set[tuple[int, int]]


def write_table(
    out: Path, name: str, title: str, entries: Sequence[Entry], recipe: str = ""
) -> list[Path]:
    """Write NAME.csv, NAME.md and NAME.tex into a folder.

    Args:
        out: the folder.
        name: of the files.
        title: a line about data and seeds.
        entries: see `results.summarise`.
        recipe: the same.

    Returns:
        The files.
    """
    found = [
        *(scores(entries, metric, recipe) for metric in dict.fromkeys(e.metric for e in entries)),
        *(gains(entries, metric) for metric in dict.fromkeys(e.metric for e in entries if e.gain)),
    ]
    files = [out / f"{name}{ending}" for ending in (".csv", ".md", ".tex")]
    write_csv(files[0], map(as_columns, entries))
    write_atomically(files[1], "\n\n".join([f"# {title}", *map(markdown, found), ""]).encode())
    write_atomically(files[2], "\n\n".join([f"% {title}", *map(latex, found), ""]).encode())
    return files


def as_columns(entry: Entry) -> dict[str, Any]:
    """Return the columns of an entry in the CSV file; numbers have three decimals."""
    numbers = {
        "mean": entry.mean,
        "deviation": entry.deviation,
        "published": entry.published,
        "difference": entry.difference,
        "gain": entry.gain and entry.gain.difference,
        "gain_low": entry.gain and entry.gain.low,
        "gain_high": entry.gain and entry.gain.high,
    }
    shown = {name: value if value is None else f"{value:.3f}" for name, value in numbers.items()}
    names = {"metric": entry.metric, "row": entry.row, "column": entry.column}
    return {**names, "seeds": entry.seeds, **shown}


def scores(entries: Sequence[Entry], metric: str, recipe: str = "") -> Grid:
    """Return the scores by one metric: ours, the paper's and the difference for each backbone."""
    rows, columns = _places(entries, metric)
    printed = any(e.metric == metric and e.published is not None for e in entries)
    heads = [""]
    for column in columns:
        heads += [column, *(["published", "difference"] if printed else [])]
    cells, best = [], set()
    for title in rows:
        cells.append([title])
        for entry in (rows[title][column] for column in columns):
            cells[-1].append(_with_spread(entry))
            if printed:
                cells[-1] += [_number(entry.published), _number(entry.difference, "+.1f")]
    for place, column in enumerate(columns):
        means = [rows[title][column].mean for title in rows]
        known = [round(mean, 1) for mean in means if mean is not None]
        at = 1 + place * (3 if printed else 1)
        best |= {
            (index, at)
            for index, mean in enumerate(means)
            if mean is not None and round(mean, 1) == max(known)
        }
    where = f" Published: on {data_of(recipe)[metric]}." if printed else ""
    return Grid(f"{metric}, percent: mean and standard deviation.{where}", heads, cells, best)


def gains(entries: Sequence[Entry], metric: str) -> Grid:
    """Return by how much each F-CAM is above the map that teaches it, with intervals."""
    rows, columns = _places([entry for entry in entries if entry.gain], metric)
    cells = [
        [title, *(_interval(mine[column]) if column in mine else MISSING for column in columns)]
        for title, mine in rows.items()
    ]
    caption = (
        f"{metric}, gain over the map that teaches, in points: mean over the trainings and 95 % "
        "interval of a paired bootstrap over the test images."
    )
    return Grid(caption, ["", *columns], cells, set())


def markdown(grid: Grid) -> str:
    """Return a grid as a table of Markdown, the best cells bold."""

    def escaped(text: str) -> str:
        return text.replace("|", "\\|").replace("CAM*", "CAM\\*")

    lines = [grid.heads, ["---"] * len(grid.heads)]
    for i, row in enumerate(grid.rows):
        lines.append([f"**{cell}**" if (i, j) in grid.best else cell for j, cell in enumerate(row)])
    # A star would begin what is emphasised.
    return "\n".join(
        [
            f"{grid.caption}\n",
            *("| " + " | ".join(map(escaped, line)) + " |" for line in lines),
        ]
    )


def latex(grid: Grid) -> str:
    """Return a grid as a table of LaTeX, the best cells bold."""

    def escaped(text: str) -> str:
        letters = "".join(_LATEX.get(letter, letter) for letter in text)
        return re.sub(r"(?<![\w.])-(?=\d)", "$-$", letters)  # a minus, no hyphen

    lines = [" & ".join(map(escaped, grid.heads)) + r" \\ \hline"]
    for i, row in enumerate(grid.rows):
        cells = [
            rf"\textbf{{{escaped(cell)}}}" if (i, j) in grid.best else escaped(cell)
            for j, cell in enumerate(row)
        ]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(grid.caption)}}}",
            _FITTED,
            rf"\begin{{tabular}}{{l{'r' * (len(grid.heads) - 1)}}}",
            *lines,
            r"\end{tabular}}",
            r"\end{table}",
        ]
    )


def _places(entries: Sequence[Entry], metric: str) -> tuple[dict[str, dict[str, Entry]], list[str]]:
    """Return the entries of a metric by row and column, and the columns, means last."""
    rows: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        if entry.metric == metric:
            rows.setdefault(entry.row, {})[entry.column] = entry
    columns = list(dict.fromkeys(column for mine in rows.values() for column in mine))
    return rows, sorted(columns, key=lambda column: column == MEAN)


def _number(value: float | None, how: str = ".1f") -> str:
    return MISSING if value is None else f"{value:{how}}"


def _with_spread(entry: Entry) -> str:
    spread = "" if entry.deviation is None else f" ± {entry.deviation:.1f}"
    few = f" ({entry.seeds} of {entry.seeds + entry.missing} seeds)" if entry.missing else ""
    return _number(entry.mean) + (spread + few if entry.seeds else "")


def _interval(entry: Entry) -> str:
    if entry.gain is None:
        return MISSING
    return f"{entry.gain.difference:+.1f} [{entry.gain.low:+.1f}, {entry.gain.high:+.1f}]"
