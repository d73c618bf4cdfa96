"""The tables of the report, as text cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcam_tf.evaluation import EXPLANATION, HEADLINES, Row, StoredEvaluation
from fcam_tf.evaluation.rows import CORRECT_IOU, KINDS
from fcam_tf.evaluation.stored import TOP
from fcam_tf.metrics import MEASURES

BOX_METRICS = [name for name, measure in MEASURES.items() if measure.truth == "boxes"]
MISSING = "—"
CLASSES = 20  # more than these are not all listed


class Tile(NamedTuple):
    """A headline figure: its name, its value, what it means, and the change if there is one."""

    name: str
    value: str
    meaning: str
    change: str


class Table(NamedTuple):
    """A table: its caption, the heads of its columns, and its rows of a name and numbers."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def tiles(run: StoredEvaluation, baseline: StoredEvaluation | None) -> list[Tile]:
    """The headline figures that there are, with the change against a baseline."""
    found = []
    for name, meaning in HEADLINES.items():
        value = run.metrics[name]
        meaningless = name == "Top5Loc" and len(run.split.class_names) <= TOP
        if value is not None and not meaningless:
            before = baseline and baseline.metrics.get(name)
            change = "" if before is None else f"{value - before:+.1f}"
            found.append(Tile(name, f"{value:.1f}", meaning, change))
    return found


def comparison(run: StoredEvaluation, others: Sequence[StoredEvaluation]) -> Table:
    """This run and the others; the difference is to the first of them, if there are any."""
    runs = [run, *others]
    columns = [_figures(each.metrics) for each in runs]
    rows = []
    for name, now in columns[0].items():
        before = [column.get(name) for column in columns[1:]]
        if [now, *before] != [None] * len(runs):
            change = [_change(now, before[0])] if others else []
            rows.append([name, _percent(now, 2), *change, *(_percent(x, 2) for x in before)])
    # What this run has stands first, where a narrow screen shows it.
    heads = ["", run.settings.title, *["difference"] * bool(others)]
    heads += [each.settings.title for each in others]
    if not others:
        return Table("Percent.", heads, rows)
    for what, sign in (("higher", 1), ("lower", -1)):
        count, *counts = (str(np.count_nonzero(sign * gains(each, others[0]) > 0)) for each in runs)
        rows.append([f"images with {what} IoU", count, "", "", *counts[1:]])
    caption = (
        "All runs, percent. Differences, and the images with higher or lower IoU, are against "
        f"{others[0].settings.title}."
    )
    return Table(caption, heads, rows)


def gains(run: StoredEvaluation, baseline: StoredEvaluation) -> NDArray[np.float64]:
    """(n,) by how much each image's IoU is higher than in another run."""
    pairs = zip(run.rows, baseline.rows, strict=True)
    return np.array([a.quality - b.quality for a, b in pairs])


def _figures(metrics: dict[str, Any]) -> dict[str, float | None]:
    # One may be newer than the run.
    figures = {name: metrics.get(name) for name in (*HEADLINES, *EXPLANATION)}
    for name in BOX_METRICS:
        details = metrics["details"].get(name)
        if details and len(details["iou_thresholds"]) > 1:
            deltas = zip(details["iou_thresholds"], details["accuracy"], strict=True)
            figures |= {f"{name}, IoU {delta:g}": value for delta, value in deltas}
        if details and (moved := details.get("transferred")):
            figures[f"{name}, threshold of {moved['split']}"] = moved["mean"]
    if moved := metrics["details"].get("PxAP", {}).get("transferred"):
        figures[f"mean IoU, threshold of {moved['split']}"] = moved["iou"]
    return figures


def boxes(run: StoredEvaluation) -> list[Table]:
    """Box accuracy by IoU threshold, with and without an oracle; empty without boxes."""
    details = run.metrics["details"]
    if "MaxBoxAcc" not in details:
        return []
    ranked = details["MaxBoxAcc"]["top1"] is not None
    transfer = details["MaxBoxAcc"].get("transferred")
    heads = ["metric", "IoU", "best threshold", "accuracy"]
    heads += [f"threshold of {transfer['split']}", "accuracy"] if transfer else []
    heads += ["at Otsu's threshold", *(["Top-1", "Top-5"] if ranked else [])]
    rows = []
    for name in BOX_METRICS:
        metric = details[name]
        deltas = metric["iou_thresholds"]
        picks: dict[str, Callable[[Any], float]]
        picks = {f"{delta:g}": itemgetter(k) for k, delta in enumerate(deltas)}
        for iou, pick in (picks | ({"mean": np.mean} if len(deltas) > 1 else {})).items():
            cells = [name, iou]
            for figures in [metric, *([metric["transferred"]] if transfer else [])]:
                thresholds = figures["best_thresholds" if figures is metric else "thresholds"]
                cells.append("" if iou == "mean" else f"{pick(thresholds):.3f}")
                cells.append(_percent(pick(figures["accuracy"])))
            keys = ["otsu", *(["top1", "top5"] if ranked else [])]
            rows.append([*cells, *(_percent(pick(metric[key])) for key in keys)])
    caption = (
        "Boxes, percent of images (MaxBoxAccV3: of true boxes). “Best threshold” is chosen on this "
        "split, separately for each IoU, as the benchmark does; "
        + ("the next columns take it from another split; " if transfer else "")
        + "Otsu's is found for each image and needs no ground truth."
    )
    return [Table(caption, heads, rows)]


def pixels(run: StoredEvaluation) -> list[Table]:
    """Pixel figures; empty without masks."""
    details = run.metrics["details"].get("PxAP")
    if details is None:
        return []
    rows = [
        ["PxAP", "all", _percent(run.metrics["PxAP"])],
        [
            "mean IoU, best threshold",
            f"{details['peak_threshold']:.3f}",
            _percent(details["peak_iou"]),
        ],
        ["mean IoU, Otsu's threshold", "each its own", _percent(details["otsu_iou"])],
    ]
    if moved := details.get("transferred"):
        name = f"mean IoU, threshold of {moved['split']}"
        rows.insert(2, [name, f"{moved['threshold']:.3f}", _percent(moved["iou"])])
    caption = (
        f"Pixels, percent: {details['object_pixels']:,} of objects, "
        f"{details['background_pixels']:,} of background; ignored ones do not count. PxAP pools "
        "the pixels of all images."
    )
    return [Table(caption, ["metric", "threshold", "%"], rows)]


def classes(run: StoredEvaluation) -> Table:
    """How well each class is localised, the worst first."""
    by_class: dict[int, list[Row]] = {}
    for row in run.rows:
        by_class.setdefault(row.label, []).append(row)
    order = sorted(by_class, key=lambda k: np.mean([row.quality for row in by_class[k]]))
    half = CLASSES // 2
    shown = order if len(order) <= CLASSES else [*order[:half], *order[-half:]]
    what = "box" if run.rows[0].iou is not None else "mask"
    heads = ["class", "images", f"mean {what} IoU", f"{what} IoU ≥ 0.5, %"]
    masks, ranks = run.rows[0].pixel_ap is not None, run.rows[0].rank is not None
    heads += [*(["mean pixel AP, %"] if masks else []), *(["accuracy, %"] if ranks else [])]
    rows = []
    for label in shown:
        mine = by_class[label]
        quality = np.array([row.quality for row in mine])
        cells = [run.split.class_names[label].replace("_", " "), f"{len(mine)}"]
        cells += [f"{quality.mean():.2f}", _percent(100 * float((quality >= CORRECT_IOU).mean()))]
        if masks:
            ap = [row.pixel_ap for row in mine if row.pixel_ap is not None]
            cells.append(_percent(float(np.mean(ap)) if ap else None))
        if ranks:
            cells.append(_percent(100 * float(np.mean([row.rank == 0 for row in mine]))))
        rows.append(cells)
    left_out = len(order) - len(shown)
    caption = "Classes, the worst first." + (
        f" The {half} worst and the {half} best of {len(order)}." if left_out else ""
    )
    return Table(caption, heads, rows)


def explanation(runs: Sequence[StoredEvaluation]) -> list[Table]:
    """Measures of the maps as explanations, a column for each run; empty where none has any."""
    if not any(run.settings.explanation for run in runs):
        return []
    rows = [
        [
            f"{name}: {figure.meaning} ({figure.better} is better)",
            *(_percent(run.metrics.get(name)) for run in runs),
        ]
        for name, figure in EXPLANATION.items()
    ]
    heads = ["measure", *(run.settings.title for run in runs)]
    caption = "The maps as explanations of the model, percent; means over the images."
    return [Table(caption, heads, rows)]


def kinds(runs: Sequence[StoredEvaluation]) -> Table:
    """How many images fail in which way."""
    rows = []
    for kind in ("found", *KINDS):
        counts = [sum(row.kind == kind for row in run.rows) for run in runs]
        if any(counts):
            pairs = zip(counts, runs, strict=True)
            rows.append([kind, *(f"{n} ({n / len(run.rows):.0%})" for n, run in pairs)])
    boxes = runs[0].rows[0].iou is not None
    return Table(
        f"Images by outcome, at the best threshold for {'MaxBoxAcc' if boxes else 'the mean IoU'}.",
        ["outcome", *(run.settings.title for run in runs)],
        rows,
    )


def _percent(value: float | None, digits: int = 1) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"


def _change(now: float | None, before: float | None) -> str:
    return MISSING if now is None or before is None else f"{now - before:+.2f}"
