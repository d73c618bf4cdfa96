"""Curves of many trainings as a grid of small panels: means, and the scatter of the seeds."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from fcam_tf.fonts import for_figures
from fcam_tf.paper.rows import Row
from fcam_tf.report.figures import COLOURS, STYLE

# The paper's names and colours: orange the method, green F-CAM on it.
BASELINE, OURS = "WSOL baseline", "WSOL baseline + F-CAM"
PAIR = {BASELINE: COLOURS[1], OURS: COLOURS[0]}
_PANEL, _MARGIN = (2.7, 2.0), 0.9  # inches
_LINE, _LETTERS = 0.17, 11  # inches between lines of the title, and letters in an inch of it


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """What one training gives.

    Attributes:
        backbone: of the training.
        row: which method, and whether F-CAM on it.
        seed: of the training.
        what: which of its curves; empty where there is but one.
        x: (n,) where it is known.
        y: (n,) its values.
        mark: index of a point that is marked, or None.
    """

    backbone: str
    row: Row
    seed: int
    what: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    mark: int | None = None

    @property
    def method(self) -> str:
        """Title of the method, also of an F-CAM's."""
        return self.row.before or self.row.title

    @property
    def side(self) -> str:
        """Whether it is a method or F-CAM on it, as the legend says it."""
        return OURS if self.row.before else BASELINE


class Place(NamedTuple):
    """Where a curve is drawn: the row and column of the panel, and the line in the legend."""

    row: str
    column: str
    line: str


def draw_panels(
    curves: Sequence[Curve],
    place: Callable[[Curve], Place],
    colours: Mapping[str, str],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """Draw curves, with rows and columns in the order in which they come.

    Where the trainings of a line are known at the same places, the line is their mean, in a band of
    one standard deviation; else each has a thin line.

    Args:
        curves: what is drawn.
        place: says where.
        colours: of the lines, by their names in the legend.
        title: above all.
        xlabel: of the columns.
        ylabel: of the rows.
        xlim: of all panels; None for what is drawn.
        ylim: of all panels; None leaves each its own.

    Returns:
        The figure, and the axes by row and column.
    """
    groups: dict[Place, list[Curve]] = {}
    for curve in curves:
        groups.setdefault(place(curve), []).append(curve)
    rows, columns = (list(dict.fromkeys(at)) for at in zip(*(p[:2] for p in groups), strict=True))
    width = _PANEL[0] * max(len(columns), 1.6) + 0.4
    title, families = for_figures(title)
    title = textwrap.fill(title, int(_LETTERS * width), break_on_hyphens=False)
    size = (width, _PANEL[1] * len(rows) + _MARGIN + _LINE * title.count("\n"))
    with mpl.rc_context({**STYLE, "font.family": families}):
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(
            len(rows), len(columns), squeeze=False, sharex=True, sharey=ylim is not None
        )
        panels = {
            (row, column): grid[i, j]
            for i, row in enumerate(rows)
            for j, column in enumerate(columns)
        }
        for (row, column, line), mine in groups.items():
            _draw_line(panels[row, column], mine, colours[line])
        for column, axes in zip(columns, grid[0], strict=True):
            axes.set_title(column)
        for row, axes in zip(rows, grid[:, 0], strict=True):
            axes.set_ylabel(f"{row}\n{ylabel}" if len(rows) > 1 else ylabel)
        for axes in grid[-1]:
            axes.set_xlabel(xlabel)
        for axes in panels.values():
            axes.set(**({"xlim": xlim} if xlim else {}), **({"ylim": ylim} if ylim else {}))
            if not axes.lines:
                axes.text(0.5, 0.5, "no training", ha="center", transform=axes.transAxes)
        figure.suptitle(title, fontsize=11)
        used = dict.fromkeys(at.line for at in groups)
        handles = [Line2D([], [], color=colours[line], label=line) for line in used]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure, panels


def _draw_line(axes: Axes, curves: Sequence[Curve], colour: str) -> None:
    if all(np.array_equal(curve.x, curves[0].x) for curve in curves):
        x, values = curves[0].x, np.stack([curve.y for curve in curves])
        mean = values.mean(axis=0)
        axes.plot(x, mean, color=colour, lw=1.5)
        if len(curves) > 1:
            spread = values.std(axis=0, ddof=1)
            axes.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.2, lw=0)
    else:
        for curve in curves:
            axes.plot(curve.x, curve.y, color=colour, lw=1, alpha=0.8)
    for curve in curves:
        if curve.mark is not None:
            axes.plot(curve.x[curve.mark], curve.y[curve.mark], "o", color=colour, ms=5, mec="k")
