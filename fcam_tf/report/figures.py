"""Figures of the report as SVG: one small panel each, so that they wrap on narrow screens.

Accuracy against the threshold is the paper's figures 7 and 8, the activation distribution its
figures 5 and 6 (Belharbi et al., WACV 2022), in its colours: orange the baseline, green what is
compared with it.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from fcam_tf.evaluation import StoredEvaluation

COLOURS = ("#1b7f3b", "#e07b00", "#3566c4", "#9b3fa8", "#7a7a7a")  # this run, then the others
V1, V2 = "MaxBoxAcc", "MaxBoxAccV2"
_MARK = "#555555"
_SIZE = (4.2, 3.0)
_MEDIAN = 5  # bins, as in the paper's plots
STYLE = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.edgecolor": "#888888",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.hashsalt": "fcam",  # the same figure gives the same file
    "text.parse_math": False,  # names of classes and folders may have dollar signs
}


def line_styles(
    colours: Sequence[str] = COLOURS, dashes: Sequence[str] = ("-", "--", ":", "-.")
) -> list[dict[str, Any]]:
    """Return the colours and dashes of as many lines as differ: all colours, then other dashes."""
    return [{"color": colour, "ls": dash} for dash in dashes for colour in colours]


class Panel(NamedTuple):
    """A figure and what it says to those who do not see it."""

    source: str
    alt: str


def threshold_panels(runs: Sequence[StoredEvaluation]) -> list[Panel]:
    """Box accuracy against the threshold, a panel for each IoU; empty without boxes."""
    if any(V2 not in run.metrics["details"] for run in runs):
        return []
    deltas = runs[0].metrics["details"][V2]["iou_thresholds"]
    return [_threshold_panel(runs, k, delta) for k, delta in enumerate(deltas)]


def _threshold_panel(runs: Sequence[StoredEvaluation], k: int, delta: float) -> Panel:
    def draw(axes: Axes, run: StoredEvaluation, **style: Any) -> str:
        details, colour = run.metrics["details"], style["color"]
        metric, largest = details[V2], details[V1]
        best, tau = metric["accuracy"][k], metric["best_thresholds"][k]
        axes.plot(details["thresholds"], metric["curves"][k], **style)
        axes.plot(tau, best, "o", color=colour, ms=5)
        if delta in largest["iou_thresholds"]:
            curve = largest["curves"][largest["iou_thresholds"].index(delta)]
            axes.plot(details["thresholds"], curve, color=colour, lw=1, ls="--")
        if "transferred" in metric:
            axes.axvline(metric["transferred"]["thresholds"][k], color=colour, ls=":", lw=1)
        axes.set(xlim=(0, 1), ylim=(0, 102), xlabel="threshold", ylabel="images localised, %")
        axes.set_title(f"IoU ≥ {delta:g}")
        return f"at best {best:.1f} % at threshold {tau:.3f}"

    return _panel(runs, draw, f"Images localised against the threshold, IoU {delta:g}")


def precision_panel(runs: Sequence[StoredEvaluation]) -> list[Panel]:
    """Precision against recall of pixels, empty without masks."""
    if any("PxAP" not in run.metrics["details"] for run in runs):
        return []

    def draw(axes: Axes, run: StoredEvaluation, **style: Any) -> str:
        pixels = run.metrics["details"]["PxAP"]
        recall, precision = (100 * np.array(pixels[name]) for name in ("recall", "precision"))
        axes.step(recall, precision, where="pre", **style)
        axes.set(xlim=(0, 100), ylim=(0, 102), xlabel="recall, %", ylabel="precision, %")
        axes.set_title("Pixels: precision and recall")
        return f"PxAP {run.metrics['PxAP']:.1f} %"

    return [_panel(runs, draw, "Precision against recall of pixels")]


def explanation_panels(runs: Sequence[StoredEvaluation]) -> list[Panel]:
    """What a model says while pixels are deleted, inserted or imputed, or weights are random.

    Of the runs that measured their maps as explanations; empty without any.
    """
    panels = []
    measured = [run for run in runs if run.settings.explanation]
    if not measured:
        return []
    for name, curve in (("Deletion", "deletion curve"), ("Insertion", "insertion curve")):
        panels.append(_changed_pixels_panel(measured, name, curve))
    panels.append(_road_panel(measured))
    if randomised := [run for run in measured if "randomisation" in run.metrics["details"]]:
        panels.append(_randomisation_panel(randomised))
    return panels


def _changed_pixels_panel(runs: Sequence[StoredEvaluation], name: str, curve: str) -> Panel:
    def draw(axes: Axes, run: StoredEvaluation, **style: Any) -> str:
        values = run.metrics["details"]["explanation"][curve]
        axes.plot(np.linspace(0, 100, len(values)), values, **style)
        axes.set(xlim=(0, 100), ylim=(0, 102), ylabel="probability of the class, %")
        axes.set(xlabel=f"most relevant pixels {name.lower().replace('ion', 'ed')}, %")
        axes.set_title(f"{name}: {'lower' if name == 'Deletion' else 'higher'} is better")
        return f"area {run.metrics[name]:.1f} %"

    return _panel(runs, draw, f"{name}, the probability against the fraction of pixels")


def _road_panel(runs: Sequence[StoredEvaluation]) -> Panel:
    def draw(axes: Axes, run: StoredEvaluation, **style: Any) -> str:
        curves = run.metrics["details"]["explanation"]
        removed = 100 * np.array(run.settings.explanation["fractions"])
        axes.plot(removed, curves["MoRF curve"], marker="o", ms=4, **style)
        rest = {"color": style["color"], "ls": "--", "marker": "o", "ms": 4}
        axes.plot(removed, curves["LeRF curve"], **rest)
        axes.set(xlim=(0, 100), ylim=(0, 102), xlabel="pixels imputed, %")
        axes.set_ylabel("probability of the class, %")
        axes.set_title("ROAD: most (line), least (dashed) first")
        return f"ROAD {run.metrics['ROAD']:.1f} %"

    return _panel(runs, draw, "ROAD, the probability against the fraction of imputed pixels")


def _randomisation_panel(runs: Sequence[StoredEvaluation]) -> Panel:
    def draw(axes: Axes, run: StoredEvaluation, **style: Any) -> str:
        found = run.metrics["details"]["randomisation"]
        stages = np.arange(len(found["layers"]) + 1)
        axes.plot(stages, [1, *found["rank_correlation"]], marker="o", ms=4, **style)
        rest = {"color": style["color"], "ls": "--", "marker": "o", "ms": 4}
        axes.plot(stages, [1, *found["ssim"]], **rest)
        axes.set(ylim=(-1.05, 1.05), xlabel="random layers, from the head (1) to all (last)")
        axes.set_ylabel("rank correlation, SSIM (dashed)")
        axes.set_title("Random weights: lower is better")
        return f"rank correlation {found['rank_correlation'][-1]:.2f} when all are random"

    return _panel(
        runs, draw, "Similarity of maps to those of the model as its weights are randomised"
    )


def activation_panel(runs: Sequence[StoredEvaluation]) -> Panel:
    """How a map's pixels spread over [0, 1], mean over the images."""
    highest = [0.0]

    def draw(axes: Axes, run: StoredEvaluation, **style: Any) -> str:
        activation = run.metrics["details"]["activation"]
        fraction = smoothed(activation)
        axes.plot((np.arange(fraction.size) + 0.5) / fraction.size, fraction, lw=1.1, **style)
        highest.append(shown_up_to(fraction))
        axes.set(xlim=(0, 1), ylim=(0, 1.1 * max(highest) or 1), xlabel="activation")
        axes.set_ylabel("fraction of pixels per 0.001")
        axes.set_title("Activation distribution")
        return f"{np.sum(activation[: fraction.size // 10]):.0%} of the pixels lie below 0.1"

    return _panel(runs, draw, "Distribution of activations")


def smoothed(activation: ArrayLike) -> NDArray[np.float64]:
    """Return an activation distribution (bins,) behind the median filter of the paper's plots."""
    padded = np.pad(np.asarray(activation, np.float64), _MEDIAN // 2)
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, _MEDIAN), axis=1)


def shown_up_to(fraction: NDArray[np.float64]) -> float:
    """Return what an axis must reach to show a distribution but for a spike in a few bins."""
    return float(np.sort(fraction)[-_MEDIAN])


def quality_panel(runs: Sequence[StoredEvaluation]) -> Panel:
    """How many images have which IoU."""
    what, plural = ("box", "boxes") if runs[0].rows[0].iou is not None else ("mask", "masks")
    bins = np.linspace(0, 1, 21).tolist()
    fill: dict[str, Any] = {"histtype": "stepfilled", "alpha": 0.75}
    shape = fill if len(runs) == 1 else {"histtype": "step"}

    def draw(axes: Axes, run: StoredEvaluation, **style: Any) -> str:
        values = np.array([row.quality for row in run.rows])
        axes.hist(values, bins, lw=1.6, **shape, **style)
        axes.axvline(0.5, color=_MARK, ls="--", lw=1)
        axes.set(xlim=(0, 1), xlabel=f"IoU of the {what}", ylabel="images")
        axes.set_title(f"Overlap of {plural}")
        return f"median {np.median(values):.2f}"

    return _panel(runs, draw, "Histogram of IoU")


def _panel(runs: Sequence[StoredEvaluation], draw: Callable[..., str], what: str) -> Panel:
    """Draw each run in its colour; ``draw`` says what is to be seen of it."""
    with mpl.rc_context(STYLE):
        legend = 0.2 * len(runs) if len(runs) > 1 else 0  # below the axes, where it hides nothing
        figure = Figure(figsize=(_SIZE[0], _SIZE[1] + legend), layout="constrained")
        axes = figure.subplots()
        said = []
        for run, colour in zip(runs, cycle(COLOURS)):
            title = run.settings.title
            said.append(f"{title}: {draw(axes, run, color=colour, label=title)}")
        if legend:
            figure.legend(loc="outside lower center")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    source = f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Panel(source, f"{what}. {'; '.join(said)}.")
