"""Figure 9: when classifiers classify best on val, and when their maps localise best.

Source: F-CAM (Belharbi et al., WACV 2022), supplement. The scores are those of the trainings' own
histories, after each epoch and before the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from fcam_tf.paper.curves import write_curves
from fcam_tf.paper.figure_files import write_figure
from fcam_tf.paper.panels import Curve, Place, draw_panels
from fcam_tf.paper.results import LOCALISATION, cells_of
from fcam_tf.paper.rows import Row, table5
from fcam_tf.paper.study import Study
from fcam_tf.paper.trained import figure_title, train_all
from fcam_tf.report.figures import COLOURS
from fcam_tf.training import RunFolder
from fcam_tf.training.run_folder import VALIDATION_PREFIX

ACCURACY = "accuracy"


def convergence(
    study: Study, name: str, rows: Sequence[Row], backbones: Sequence[str], seeds: int
) -> list[Path]:
    """Draw accuracy and localisation of the classifiers on val, with the chosen epochs marked.

    Writes NAME.csv, where 1 under ``chosen`` marks the epochs, NAME.png and NAME.pdf. Methods that
    share a training are shown once, under the method whose maps were scored.

    Args:
        study: the data, the recipes and the folder.
        name: of the files.
        rows: of `rows.table5`.
        backbones: the columns.
        seeds: trainings of each.

    Raises:
        ValueError, FileNotFoundError: see `Study.check` and `Study.score`.
        RuntimeError: every training diverged.
    """
    runs = train_all(study, name, cells_of(rows, backbones, seeds), study.classifier)
    curves = {
        (cell.backbone, run.settings["method"], cell.seed): curves_of(cell.backbone, run)
        for cell, run in runs.items()
    }
    order = sorted(curves, key=lambda key: backbones.index(key[0]))
    shown = [curve for key in order for curve in curves[key]]
    scores = [s for s in LOCALISATION if any(curve.what == s for curve in shown)]
    figure, panels = draw_panels(
        shown,
        lambda curve: Place(curve.row.title, curve.backbone, curve.what),
        {ACCURACY: COLOURS[2], **dict.fromkeys(scores, COLOURS[1])},
        title=figure_title(study, "val", shown, seeds, "a dot marks the epoch that is kept"),
        xlabel="epoch",
        ylabel="%",
        ylim=(0, 102),
    )
    for axes in panels.values():
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    table = write_curves(study, name, shown, "epoch", "score")
    return [table, *write_figure(figure, study.out, name)]


def curves_of(backbone: str, run: RunFolder) -> list[Curve]:
    """Return accuracy and localisation over the epochs of a training, as far as they are known.

    Localisation is the score that chose the epoch; where that is accuracy, the first there is.
    """
    recipe, method = run.settings["recipe"], run.settings["method"]
    (row,) = table5([method])
    wanted = sorted(LOCALISATION, key=lambda score: score != recipe["select"])
    known = [s for s in wanted if VALIDATION_PREFIX + s in run.state.history[0]]
    curves = []
    for score in (ACCURACY, *known[:1]):
        found = [line for line in run.state.history if VALIDATION_PREFIX + score in line]
        mark = next((i for i, line in enumerate(found) if line is run.chosen), None)
        if found:
            x = np.array([line["epoch"] for line in found], np.float64)
            y = np.array([line[VALIDATION_PREFIX + score] for line in found])
            curves.append(Curve(backbone, row, recipe["seed"], score, x, y, mark))
    return curves
