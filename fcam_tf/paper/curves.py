"""Figures 5 to 8: how maps spread over [0, 1], and what they score at every threshold.

Source: F-CAM (Belharbi et al., WACV 2022), supplement; each figure shows the maps of methods beside
those of F-CAM on them. Every curve is that of an evaluation (`metrics`), read from its folder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcam_tf import data
from fcam_tf.atomic import write_csv
from fcam_tf.evaluation import StoredEvaluation
from fcam_tf.metrics import MaxBoxAcc
from fcam_tf.metrics.max_box_acc import BoxCurve
from fcam_tf.paper.cells import Cell
from fcam_tf.paper.figure_files import write_figure
from fcam_tf.paper.panels import PAIR, Curve, Place, draw_panels
from fcam_tf.paper.results import cells_of
from fcam_tf.paper.rows import Row
from fcam_tf.paper.study import Study
from fcam_tf.paper.trained import figure_title, train_all
from fcam_tf.report.figures import shown_up_to, smoothed

IOUS = (0.3, 0.5, 0.7)
Values = NDArray[np.float64]
# Name -> x and y.
Read = Callable[[StoredEvaluation], dict[str, tuple[Values, Values]]]


def activations(
    study: Study, name: str, rows: Sequence[Row], backbones: Sequence[str], seeds: int
) -> list[Path]:
    """Figures 5 and 6: the distribution of activations, a panel for each method and backbone.

    Writes NAME.csv (the fraction of a map's pixels in each bin of width 0.001, by its centre, mean
    over the images), and NAME.png and NAME.pdf, behind the median filter of the paper's plots.

    Args:
        study: the data, the recipes and the folder.
        name: of the files.
        rows: of `rows.pairs`.
        backbones: the columns.
        seeds: trainings of each.

    Raises:
        ValueError, FileNotFoundError: see `Study.check` and `Study.score`.
        RuntimeError: every training diverged.
    """
    curves = _measured(study, name, rows, cells_of(rows, backbones, seeds), activation_of)
    smooth = [dataclasses.replace(curve, y=smoothed(curve.y)) for curve in curves]
    figure, panels = draw_panels(
        smooth,
        lambda curve: Place(curve.method, curve.backbone, curve.side),
        PAIR,
        title=figure_title(study, "test", curves, seeds, "activation distribution"),
        xlabel="activation",
        ylabel="fraction of pixels",
        xlim=(0, 1),
    )
    for (method, backbone), axes in panels.items():
        mine = [c.y for c in smooth if (c.method, c.backbone) == (method, backbone)]
        axes.set_ylim(0, 1.1 * max(map(shown_up_to, mine), default=0) or 1)
    table = write_curves(study, name, curves, "activation", "fraction")
    return [table, *write_figure(figure, study.out, name)]


def localisation(
    study: Study, name: str, rows: Sequence[Row], backbones: Sequence[str], seeds: int
) -> list[Path]:
    """Figure 7: MaxBoxAcc against the threshold, backbones below each other, a column for each IoU.

    Writes NAME.csv, and NAME-METHOD.png and NAME-METHOD.pdf for each method.

    Args:
        study: the data, the recipes and the folder.
        name: of the files.
        rows: of `rows.pairs`.
        backbones: the rows of each figure.
        seeds: trainings of each.

    Raises:
        ValueError: the test split has no boxes; and see `activations`.
        FileNotFoundError, RuntimeError: see `activations`.
    """
    _needs(study, name, "boxes")
    curves = _measured(study, name, rows, cells_of(rows, backbones, seeds), accuracy_of)
    files = [write_curves(study, name, curves, "threshold", "MaxBoxAcc")]
    for method in dict.fromkeys(curve.method for curve in curves):
        mine = [curve for curve in curves if curve.method == method]
        figure, _ = draw_panels(
            mine,
            lambda curve: Place(curve.backbone, curve.what, curve.side),
            PAIR,
            title=figure_title(study, "test", mine, seeds, "MaxBoxAcc against the threshold"),
            xlabel="threshold",
            ylabel="MaxBoxAcc, %",
            xlim=(0, 1),
            ylim=(0, 102),
        )
        files += write_figure(figure, study.out, f"{name}-{mine[0].row.method}")
    return files


def precision_recall(
    study: Study, name: str, rows: Sequence[Row], backbones: Sequence[str], seeds: int
) -> list[Path]:
    """Figure 8: precision against recall of pixels, a panel for each method and backbone.

    Writes NAME.csv, NAME.png and NAME.pdf; each seed has its own line, as bins without a pixel are
    left out.

    Args:
        study: the data, the recipes and the folder.
        name: of the files.
        rows: of `rows.pairs`.
        backbones: the columns.
        seeds: trainings of each.

    Raises:
        ValueError: the test split has no masks; and see `activations`.
        FileNotFoundError, RuntimeError: see `activations`.
    """
    _needs(study, name, "masks")
    curves = _measured(study, name, rows, cells_of(rows, backbones, seeds), precision_of)
    figure, _ = draw_panels(
        curves,
        lambda curve: Place(curve.method, curve.backbone, curve.side),
        PAIR,
        title=figure_title(study, "test", curves, seeds, "precision and recall of pixels"),
        xlabel="recall, %",
        ylabel="precision, %",
        xlim=(0, 100),
        ylim=(0, 102),
    )
    table = write_curves(study, name, curves, "recall", "precision")
    return [table, *write_figure(figure, study.out, name)]


def activation_of(run: StoredEvaluation) -> dict[str, tuple[Values, Values]]:
    """Return the centres of the bins of [0, 1], and the fraction of pixels in each."""
    fractions = np.array(run.metrics["details"]["activation"])
    return {"": ((np.arange(fractions.size) + 0.5) / fractions.size, fractions)}


def accuracy_of(run: StoredEvaluation) -> dict[str, tuple[Values, Values]]:
    """Return the thresholds and MaxBoxAcc (largest contour), percent, for each of `IOUS`."""
    metric = MaxBoxAcc(IOUS)  # metrics.json has it at IoU 0.5 alone
    metric.update_curves(
        BoxCurve(scored.kept["MaxBoxAcc"], int(scored.levels.max()), scored.otsu)
        for scored in run.parts
    )
    found = zip(IOUS, metric.curves(), strict=True)
    return {f"IoU ≥ {iou:g}": (metric.thresholds, curve) for iou, curve in found}


def precision_of(run: StoredEvaluation) -> dict[str, tuple[Values, Values]]:
    """Return recall and precision of pixels in percent, from the highest threshold down."""
    pixels = run.metrics["details"]["PxAP"]
    return {"": (100 * np.array(pixels["recall"]), 100 * np.array(pixels["precision"]))}


def curves_of(
    rows: Sequence[Row], found: Mapping[Cell, StoredEvaluation], read: Read
) -> list[Curve]:
    """Return the curves of all trainings that there are, by row, in the order of the cells."""
    return [
        Curve(cell.backbone, row, cell.seed, what, x, y)
        for row in rows
        for cell, run in found.items()
        if (cell.method, cell.variant) == (row.method, row.variant)
        for what, (x, y) in read(run).items()
    ]


def write_curves(study: Study, name: str, curves: Sequence[Curve], x: str, y: str) -> Path:
    """Write the points of curves as NAME.csv, with these names for x and y."""
    table = study.out / f"{name}.csv"
    write_csv(table, _points(curves, x, y))
    return table


def _points(curves: Sequence[Curve], x: str, y: str) -> list[dict[str, Any]]:
    return [
        {
            "backbone": curve.backbone,
            "row": curve.row.title,
            "seed": curve.seed,
            **({"curve": curve.what} if curve.what else {}),
            x: f"{at:.6g}",
            y: f"{value:.6g}",
            **({} if curve.mark is None else {"chosen": int(index == curve.mark)}),
        }
        for curve in curves
        for index, (at, value) in enumerate(zip(curve.x, curve.y, strict=True))
    ]


def _measured(
    study: Study, name: str, rows: Sequence[Row], cells: Sequence[Cell], read: Read
) -> list[Curve]:
    return curves_of(rows, train_all(study, name, cells, study.score), read)


def _needs(study: Study, name: str, truth: str) -> None:
    """Raise a ValueError, before anything is trained, unless the test split has boxes or masks."""
    if getattr(data.load(study.root, "test"), truth) is None:
        raise ValueError(f"{name} needs {truth}, but the test split of {study.root} has none.")
