"""Figure 2: the score on val against a number of the recipe, with the scatter of the seeds."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from fcam_tf.atomic import write_csv
from fcam_tf.fonts import for_figures
from fcam_tf.paper.cells import Cell
from fcam_tf.paper.figure_files import write_figure
from fcam_tf.paper.results import cells_of
from fcam_tf.paper.rows import Row
from fcam_tf.paper.study import Study
from fcam_tf.paper.trained import data_name, told_seeds, train_all
from fcam_tf.report.figures import line_styles
from fcam_tf.training.run_folder import VALIDATION_PREFIX

NEGATIVES = "loss.negative_fraction=0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9"
_LINES = line_styles()


@dataclasses.dataclass(frozen=True)
class Point:
    """The scores of one value: of each seed, in percent."""

    backbone: str
    method: str
    value: str
    scores: tuple[float, ...]


def sweep(
    study: Study, name: str, rows: Sequence[Row], backbones: Sequence[str], seeds: int
) -> tuple[list[Point], list[Path]]:
    """Train the F-CAMs of `rows.vary`, and draw the val score of their chosen epochs.

    Writes NAME.csv, NAME.png and NAME.pdf. The test split is not looked at.

    Args:
        study: the data, the recipes and the folder.
        name: of the files.
        rows: of `rows.vary`.
        backbones: a curve for each, and for each method.
        seeds: trainings of each.

    Raises:
        ValueError, FileNotFoundError: see `Study.check` and `Study.score`.
        RuntimeError: every training diverged; nothing is written.
    """
    varied = [row for row in rows if row.variant]
    cells = cells_of(varied, backbones, seeds)

    def score(cell: Cell) -> tuple[str, float]:
        run = study.fcam(cell)
        select = run.settings["recipe"]["select"]
        return select, run.chosen[VALIDATION_PREFIX + select]

    found = train_all(study, name, cells, score)
    values = {cell: value for cell, (_, value) in found.items()}
    points = points_of(varied, backbones, seeds, values)
    table = study.out / f"{name}.csv"
    write_csv(table, map(_columns, points))
    key = varied[0].settings[0].partition("=")[0]
    selects = ", ".join(dict.fromkeys(select for select, _ in found.values()))
    told = told_seeds(seeds, (len(point.scores) for point in points))
    title = f"{data_name(study)}, val, {told}"
    figure = draw(points, key, f"val {selects}, %", title)
    return points, [table, *write_figure(figure, study.out, name)]


def points_of(
    rows: Sequence[Row], backbones: Sequence[str], seeds: int, found: Mapping[Cell, float]
) -> list[Point]:
    """Return the points, curve by curve; a value without any training is left out."""
    points = []
    for backbone in backbones:
        for row in rows:
            scores = tuple(found[c] for c in row.cells(backbone, seeds) if c in found)
            value = row.settings[0].partition("=")[2]
            if scores:
                points.append(Point(backbone, row.title.partition(" + ")[0], value, scores))
    return points


def draw(points: Sequence[Point], key: str, score: str, title: str) -> Figure:
    """Return the figure: curves of the means, and a dot for each training."""
    values = list(dict.fromkeys(point.value for point in points))
    places = _places(values)
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.add_subplot()
    curves: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        curves.setdefault((point.backbone, point.method), []).append(point)
    for number, ((backbone, method), mine) in enumerate(curves.items()):
        style = _LINES[number % len(_LINES)]
        mine.sort(key=lambda point: places[point.value])  # else the line would run to and fro
        means = [statistics.mean(point.scores) for point in mine]
        at = [places[point.value] for point in mine]
        axes.plot(at, means, **style, label=f"{backbone}, {method} + F-CAM")
        for x, point in zip(at, mine, strict=True):
            dots = [x] * len(point.scores)
            axes.scatter(dots, point.scores, s=16, color=style["color"], alpha=0.6)
    axes.set_xticks([places[value] for value in values], values)
    axes.set(xlabel="n- (negative_fraction)" if key == NEGATIVES.partition("=")[0] else key)
    axes.set(ylabel=score)
    title, families = for_figures(title)
    axes.set_title(title, fontsize=11, family=families, parse_math=False)
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def _places(values: Sequence[str]) -> dict[str, float]:
    """Return where values stand on the axis: by their number or, if they are none, in a row."""
    try:
        return {value: float(value) for value in values}
    except ValueError:
        return {value: float(index) for index, value in enumerate(values)}


def _columns(point: Point) -> dict[str, Any]:
    spread = statistics.stdev(point.scores) if len(point.scores) > 1 else None
    return {
        "backbone": point.backbone,
        "method": point.method,
        "value": point.value,
        "seeds": len(point.scores),
        "mean": f"{statistics.mean(point.scores):.3f}",
        "deviation": None if spread is None else f"{spread:.3f}",
        "scores": " ".join(f"{score:.3f}" for score in point.scores),
    }
