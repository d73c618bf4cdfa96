"""The report: one HTML file that needs no network."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import jinja2

from fcam_tf.atomic import write_atomically
from fcam_tf.data.split import Split
from fcam_tf.evaluation import StoredEvaluation
from fcam_tf.names import told
from fcam_tf.report import figures, galleries, pictures, tables

REPORT = "report.html"


def write_report(run: StoredEvaluation, *others: StoredEvaluation) -> Path:
    """Writes OUT/report.html.

    Args:
        run: what the report is about.
        others: earlier runs of the same images to show beside it. The first is the baseline:
            differences, gains and losses refer to it.

    Raises:
        ValueError: if another run is of other images.
        OSError: if a photo or mask cannot be read, or the file not be written.
    """
    for other in others:
        check_comparable(run.split, other)
    runs = [run, *others]
    baseline = others[0] if others else None
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    text = resources.files("fcam_tf.report").joinpath("page.html.j2").read_text("utf-8")
    page = environment.from_string(text).render(
        run=run,
        runs=runs,
        others=others,
        colours=figures.COLOURS,
        parts=pictures.REPORT._asdict(),
        tiles=tables.tiles(run, baseline),
        comparison=tables.comparison(run, others) if others else None,
        explanation_tables=tables.explanation(runs),
        explanation_panels=figures.explanation_panels(runs),
        truth_tables=[*tables.boxes(run), *tables.pixels(run)],
        kinds=tables.kinds(runs),
        classes=tables.classes(run),
        curve_panels=figures.threshold_panels(runs),
        spread_panels=[
            *figures.precision_panel(runs),
            figures.activation_panel(runs),
            figures.quality_panel(runs),
        ],
        galleries=galleries.galleries(run),
        failures=galleries.failures(run),
        changes=galleries.changes(run, baseline) if baseline else [],
        thresholds=galleries.thresholds(run),
        data=Path(run.settings.data).name,
        told=told,
    )
    file = run.out / REPORT
    write_atomically(file, page.encode())
    return file


def check_comparable(split: Split, other: StoredEvaluation) -> None:
    """Raises ValueError, naming the first difference, if another run is not of a split's images."""
    theirs = [row.id for row in other.rows]
    if theirs == list(split.ids):
        return
    if len(theirs) != len(split):
        reason = f"it has {len(theirs)} images, this split {len(split)}"
    else:
        reason = next(
            f"it has {a!r} where this split has {b!r}"
            for a, b in zip(theirs, split.ids, strict=True)
            if a != b
        )
    raise ValueError(
        f"`compare` {other.out} is not an evaluation of the same images: {reason}; it was made on "
        f"{other.settings.data}, split {other.settings.split}"
    )
