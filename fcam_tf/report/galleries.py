"""Which images the report shows, and how: chosen by rule, never by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from fcam_tf.evaluation import Row, StoredEvaluation
from fcam_tf.evaluation.rows import FOUND, KINDS
from fcam_tf.evaluation.scores import Scored
from fcam_tf.report.pictures import Thresholds, data_uri, draw_map, draw_parts
from fcam_tf.report.tables import gains

SHOWN = 6
SAMPLE = 12
SEED = 0


class View(NamedTuple):
    """One run's pictures of an image: its map and its parts, and what there is to say of them."""

    title: str
    pictures: tuple[str, str]
    alt: str
    verdict: str
    good: bool  # whether the image counts as localised


class Card(NamedTuple):
    """An image in a gallery, seen by one run or by two."""

    name: str
    label: str
    views: tuple[View, ...]


@dataclasses.dataclass(frozen=True)
class Gallery:
    """A group of cards: what they have in common, and how they were chosen."""

    title: str
    note: str
    count: int | None  # of the images of this kind; None where that means nothing
    cards: list[Card]


def galleries(run: StoredEvaluation) -> list[Gallery]:
    """A random sample, the best and the worst images of a run."""
    order = _by_quality(run)
    count = min(SAMPLE, len(run.rows))
    sample = np.random.default_rng(SEED).choice(len(run.rows), count, replace=False)
    what = "box" if run.rows[0].iou is not None else "mask"
    draw = _drawing([run])
    return [
        draw("A random sample", f"{count} images drawn with a fixed seed.", None, sorted(sample)),
        draw("The best", f"Highest IoU of the {what}.", None, order[::-1][:SHOWN]),
        draw("The worst", f"Lowest IoU of the {what}.", None, order[:SHOWN]),
    ]


def failures(run: StoredEvaluation) -> list[Gallery]:
    """What goes wrong, by kind; examples spread evenly over those of the kind, by IoU."""
    found, draw = [], _drawing([run])
    for kind, note in KINDS.items():
        indices = [i for i in _by_quality(run) if run.rows[i].kind == kind]
        if indices:
            places = np.linspace(0, len(indices) - 1, min(SHOWN, len(indices))).round().astype(int)
            shown = [indices[place] for place in places]
            found.append(draw(_sentence(kind), f"{_sentence(note)}.", len(indices), shown))
    return found


def changes(run: StoredEvaluation, baseline: StoredEvaluation) -> list[Gallery]:
    """The images that gain and lose most against another run."""
    gain = gains(run, baseline)
    order = np.argsort(gain, kind="stable").tolist()
    up = [i for i in order[::-1] if gain[i] > 0]
    down = [i for i in order if gain[i] < 0]
    draw = _drawing([run, baseline])
    return [
        draw("The largest gains", "Where IoU rises most.", len(up), up[:SHOWN]),
        draw("The largest losses", "Where IoU falls most.", len(down), down[:SHOWN]),
    ]


def thresholds(run: StoredEvaluation) -> Thresholds:
    """What a run's pictures are thresholded at: its own best thresholds."""
    details = run.metrics["details"]
    return Thresholds(
        details["MaxBoxAcc"]["best_thresholds"][0] if "MaxBoxAcc" in details else None,
        details["PxAP"]["peak_threshold"] if "PxAP" in details else None,
    )


def _by_quality(run: StoredEvaluation) -> list[int]:
    return np.argsort([row.quality for row in run.rows], kind="stable").tolist()


def _drawing(runs: Sequence[StoredEvaluation]) -> Callable[..., Gallery]:
    """What draws galleries as some runs see them; an image of several galleries is drawn once."""
    cards: dict[int, Card] = {}

    def draw(title: str, note: str, count: int | None, indices: Sequence[int]) -> Gallery:
        missing = sorted(set(indices) - cards.keys())
        found = [run.parts.read(missing) for run in runs]
        for index in missing:
            row = runs[0].rows[index]
            views = tuple(_view(run, s[index]) for run, s in zip(runs, found, strict=True))
            cards[index] = Card(row.id, _class_name(runs[0], row.label), views)
        return Gallery(title, note, count, [cards[i] for i in indices])

    return draw


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _view(run: StoredEvaluation, scored: Scored) -> View:
    row, split, cuts = run.rows[scored.index], run.split, thresholds(run)
    pictures = (
        data_uri(draw_map(split, scored, cuts.box)),
        data_uri(draw_parts(split, scored, cuts)),
    )
    verdict = _verdict(run, row)
    what = (
        "what was found of the object" if cuts.mask is not None else "what is above the threshold"
    )
    alt = f"{row.id}, {run.settings.title}: heat map and boxes; {what}. {verdict}"
    return View(run.settings.title, pictures, alt, verdict, row.kind == FOUND)


def _verdict(run: StoredEvaluation, row: Row) -> str:
    parts = []
    if row.iou is not None:
        parts.append(f"box IoU {_cut(row.iou)}")
    if row.mask_iou is not None:
        parts.append(f"mask IoU {_cut(row.mask_iou)}")
    if row.rank and row.predicted is not None:
        parts.append(f"taken for {_class_name(run, row.predicted)}")
    return ", ".join(parts)


def _cut(iou: float) -> str:
    """Two digits, cut off, for 0.50 must not stand where 0.5 was missed."""
    return f"{np.floor(100 * iou) / 100:.2f}"


def _class_name(run: StoredEvaluation, label: int) -> str:
    return run.split.class_names[label].replace("_", " ")
