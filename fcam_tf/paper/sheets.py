"""Figures 1, 10 and 11: sheets of photos with the maps of methods and of F-CAM on them.

Source: F-CAM (Belharbi et al., WACV 2022). Which photos are shown is chosen by rule: Figure 1 draws
some at random, Figures 10 and 11 spread them over those that F-CAM finds, and that it does not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from fcam_tf.atomic import write_csv
from fcam_tf.data import Split, load
from fcam_tf.evaluation import Row as Scores
from fcam_tf.evaluation import StoredEvaluation
from fcam_tf.evaluation.rows import CORRECT_IOU, FOUND, make_row
from fcam_tf.fonts import for_figures
from fcam_tf.paper.figure_files import few_colours, write_figure
from fcam_tf.paper.results import cells_of
from fcam_tf.paper.rows import Row
from fcam_tf.paper.study import Study
from fcam_tf.paper.trained import data_name, train_all
from fcam_tf.report.figures import STYLE
from fcam_tf.report.galleries import SEED, thresholds
from fcam_tf.report.pictures import PAPER, Thresholds, draw_map, draw_parts, draw_photo

PHOTOS = 4  # on a sheet
_ACROSS = 8  # pictures; as many photos stand side by side as fit
_DPI = 150  # of the pictures
_WIDTH, _WIDTHS = 11, (1.25, 1.8)  # inches of a sheet, and the least and most of a picture
# What a figure looks at, of the ground truth there is.
TRUTHS = {"fig1": ("boxes", "masks"), "fig10": ("boxes",), "fig11": ("masks",)}


@dataclasses.dataclass(frozen=True)
class Column:
    """The maps of one training: their scores at its thresholds, image by image."""

    row: Row
    run: StoredEvaluation
    split: Split  # with the ground truth that is looked at
    cuts: Thresholds
    scores: list[Scores]


def sheets(
    study: Study,
    name: str,
    rows: Sequence[Row],
    backbones: Sequence[str],
    threshold: float | None = None,
) -> list[Path]:
    """Draw sheets of the first seed's maps, at least one for each backbone.

    Writes NAME.csv and, for `fig1`, NAME-BACKBONE.jpg and .pdf; for the others
    NAME-BACKBONE-found and NAME-BACKBONE-failed, where there are such photos.

    Args:
        study: the data, the recipes and the folder.
        name: of `TRUTHS`.
        rows: of `rows.pairs`.
        backbones: a sheet for each.
        threshold: in [0, 1), relative to a map's maximum for boxes, absolute for masks; None takes
            the best of each training on the test split, as the tables do.

    Raises:
        ValueError: the test split lacks the boxes or masks that are shown; and see `Study.check`.
        FileNotFoundError: see `Study.check`.
    """
    split = load(study.root, "test")
    if not any(getattr(split, truth) is not None for truth in TRUTHS[name]):
        raise ValueError(
            f"{name} shows {' or '.join(TRUTHS[name])}, but the test split of {study.root} has none"
        )
    found = train_all(study, name, cells_of(rows, backbones, 1), study.score)
    table, files = [], []
    for backbone in backbones:
        columns = [
            _column(name, row, found[cell], threshold)
            for row in rows
            for cell in row.cells(backbone, 1)
            if cell in found
        ]
        for group, photos in (choose(name, columns) if columns else {}).items():
            sheet = f"{name}-{backbone}{group and f'-{group}'}"
            if not photos:
                study.tell(f"{name}: no photo of {backbone} counts as {group}")
                for ending in (".jpg", ".pdf"):  # of another threshold, which the table is not of
                    (study.out / f"{sheet}{ending}").unlink(missing_ok=True)
                continue
            title = f"{data_name(study)}, test, {backbone}{group and f': {group}'}"
            figure = draw_sheet(columns, photos, title)
            files += write_figure(figure, study.out, sheet, photos=True)
            table += [_columns(sheet, c, c.scores[photo]) for photo in photos for c in columns]
    csv = study.out / f"{name}.csv"
    write_csv(csv, table)
    return [csv, *files]


def _column(name: str, row: Row, run: StoredEvaluation, threshold: float | None) -> Column:
    hidden: dict[str, Any] = {
        truth: None for truth in ("boxes", "masks") if truth not in TRUTHS[name]
    }
    split = dataclasses.replace(run.split, **hidden)
    best = thresholds(run)
    cuts = Thresholds(
        None if split.boxes is None else best.box if threshold is None else threshold,
        None if split.masks is None else best.mask if threshold is None else threshold,
    )
    return Column(row, run, split, cuts, [make_row(each, split, *cuts) for each in run.parts])


def choose(name: str, columns: Sequence[Column]) -> Mapping[str, list[int]]:
    """Return the photos of each sheet by its name.

    Figure 1 has `PHOTOS` photos, the same for all backbones. The others have `PHOTOS` photos that
    are found, spread evenly by IoU, and as many that are not: a photo is found where the mean IoU
    of the F-CAMs is 0.5 or more.
    """
    number = len(columns[0].scores)
    if name == "fig1":
        drawn = np.random.default_rng(SEED).choice(number, min(PHOTOS, number), replace=False)
        return {"": sorted(drawn.tolist())}
    ours = [column for column in columns if column.row.before] or columns
    quality = np.mean([[row.quality for row in column.scores] for column in ours], axis=0)
    order = np.argsort(quality, kind="stable")[::-1]
    # An object may be too small for the frame; what is not there is neither found nor missed.
    order = order[[bool(ours[0].scores[photo].kind) for photo in order]]
    groups = {
        "found": order[quality[order] >= CORRECT_IOU],
        "failed": order[quality[order] < CORRECT_IOU],
    }
    return {group: _spread(photos) for group, photos in groups.items()}


def _spread(photos: np.ndarray) -> list[int]:
    places = np.linspace(0, len(photos) - 1, min(PHOTOS, len(photos))).round().astype(int)
    return photos[places].tolist()


def draw_sheet(columns: Sequence[Column], photos: Sequence[int], title: str) -> Figure:
    """Draw photos below each other: each map with its boxes, and below it what is found.

    Args:
        columns: the maps, of one split.
        photos: indices of images.
        title: above all.
    """
    split = columns[0].split
    inputs = [draw_photo(split, photo) for photo in photos]
    found = [column.run.parts.read(photos) for column in columns]
    wide = 1 + len(columns)  # pictures of one photo
    across = min(max(_ACROSS // wide, 1), len(photos))
    width = float(np.clip(_WIDTH / (wide * across), *_WIDTHS))
    heights = []
    for start in range(0, len(photos), across):  # a row is as high as its highest photo
        high = max(width * each.height / each.width for each in inputs[start : start + across])
        heights += [high, high + 0.35]  # the text below
    names = [split.class_names[split.labels[photo]].replace("_", " ") for photo in photos]
    (title, *names), fonts = zip(*map(for_figures, [title, *names]), strict=True)
    families = [*dict.fromkeys(chain(*fonts))]
    with mpl.rc_context({**STYLE, "axes.grid": False, "font.family": families}):
        size = (width * wide * across, sum(heights) + 0.9)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.add_gridspec(len(heights), wide * across, height_ratios=heights)
        for i, (photo, picture) in enumerate(zip(photos, inputs, strict=True)):
            row, place = divmod(i, across)
            first, left = row == 0, place * wide
            axes = figure.add_subplot(grid[2 * row : 2 * row + 2, left])
            _show(axes, picture, width, "input" if first else "", names[i])
            for j, (column, scored) in enumerate(zip(columns, found, strict=True), left + 1):
                upper, lower = (figure.add_subplot(grid[2 * row + k, j]) for k in (0, 1))
                over = draw_map(column.split, scored[photo], column.cuts.box)
                _show(upper, over, width, _head(column) if first else "")
                parts = draw_parts(column.split, scored[photo], column.cuts, PAPER)
                _show(lower, parts, width, below=_verdict(column.scores[photo]))
        figure.suptitle(title, fontsize=11)
        figure.supxlabel(_legend(columns[0].cuts), fontsize=8)
    return figure


def _show(axes: Axes, picture: Image.Image, width: float, above: str = "", below: str = "") -> None:
    """Show a picture of no more pixels than are seen, for the sake of the PDF."""
    across = min(round(width * _DPI), picture.width)
    shown = picture.resize((across, round(picture.height * across / picture.width)))
    axes.imshow(np.asarray(few_colours(shown)))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(above, fontsize=7.5, fontweight="normal")
    axes.set_xlabel(below, fontsize=7)


def _head(column: Column) -> str:
    lines = ["+ F-CAM" if column.row.before else column.row.title]
    for what, cut in column.cuts._asdict().items():
        lines += [] if cut is None else [f"{what} τ = {cut:.3f}"]
    return "\n".join(lines)


def _legend(cuts: Thresholds) -> str:
    boxes = "boxes: true green, predicted red"
    parts = "red: found, green: missed, blue: too much"
    above = "red: above the threshold"
    return "; ".join([boxes] * (cuts.box is not None) + [parts if cuts.mask is not None else above])


def _verdict(scores: Scores) -> str:
    """Return the IoU, cut off, for 0.50 must not stand where 0.5 was missed, and the failure."""
    known = {"box": scores.iou, "mask": scores.mask_iou}
    lines = [
        f"{what} IoU {np.floor(100 * x) / 100:.2f}" for what, x in known.items() if x is not None
    ]
    return "\n".join(lines + [scores.kind] * (scores.kind != FOUND))


def _columns(sheet: str, column: Column, scores: Scores) -> dict[str, Any]:
    return {
        "sheet": sheet,
        "id": scores.id,
        "row": column.row.title,
        "box_threshold": column.cuts.box,
        "mask_threshold": column.cuts.mask,
        "box_iou": scores.iou,
        "mask_iou": scores.mask_iou,
        "kind": scores.kind,
    }
