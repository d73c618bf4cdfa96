"""The rows of the tables that are trained: what each is called, and what it needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from fcam_tf.names import BASELINES, CENTER, FSL, METHODS, lookup
from fcam_tf.paper.cells import Cell

FCAM = "fcam"  # the variant with the recipe as it is
_PLUS = "+fcam"  # behind the name of a method
_TITLES = {
    "cam": "CAM*",
    "gradcam": "GradCAM",
    "gradcampp": "GradCAM++",
    "smoothgradcampp": "Smooth-GradCAM++",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
    "has": "HaS",
    "acol": "ACoL",
    "spg": "SPG",
    "adl": "ADL",
    "cutmix": "CutMix",
    "icl": "ICL",
    FSL: "FSL",
    CENTER: "Center",
}
SIX = ("cam", "gradcam", "gradcampp", "smoothgradcampp", "xgradcam", "layercam")
TABLE3 = (
    *("has", "acol", "spg", "adl", "cutmix", "icl", FSL, CENTER),
    *SIX,
    *(f"{method}{_PLUS}" for method in SIX),
)
# Of the losses in a recipe, Table 1 leaves some out.
LOSSES = {
    "SR": ("loss.crf=0", "loss.size=0"),
    "SR + ASC": ("loss.crf=0",),
    "SR + CRF": ("loss.size=0",),
    "SR + ASC + CRF": (),
}
_TERMS = {"SR": "seeds", "ASC": "size", "CRF": "crf"}


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        title: as the paper prints it.
        method: of its cells, as are the next two.
        variant: see `Cell`.
        settings: see `Cell`.
        published: the title under which the paper's number is found, where it is another.
        before: the title of the row that this one improves on; empty for none.
        terms: of the loss, after which the row is named, and with which it must be trained.
    """

    title: str
    method: str
    variant: str = ""
    settings: tuple[str, ...] = ()
    published: str = ""
    before: str = ""
    terms: tuple[str, ...] = ()

    def cells(self, backbone: str, seeds: int) -> list[Cell]:
        """Return the cells whose mean stands in a column; the centre has one for all columns."""
        if self.method == CENTER:
            return [Cell("", CENTER)]
        return [
            Cell(backbone, self.method, seed, self.variant, self.settings) for seed in range(seeds)
        ]


def table1(methods: Sequence[str]) -> list[Row]:
    """Return the ablation of the losses: each method, and F-CAM on it with some of them."""
    rows = []
    for method in methods or ("cam",):
        title = _title(method)
        rows.append(Row(title, method))
        for losses, settings in LOSSES.items():
            variant, published = losses.replace(" ", ""), ""
            terms = tuple(_TERMS[name] for name in losses.split(" + "))
            if not settings:
                variant, published = FCAM, f"{title} + F-CAM"
            named = f"{title} + {losses}"
            rows.append(Row(named, method, variant, settings, published, title, terms))
    return rows


def vary(methods: Sequence[str], variation: str) -> list[Row]:
    """Return each method, and F-CAM on it with each value of one key of the recipe.

    Args:
        methods: which teach.
        variation: KEY=VALUE,VALUE,...; commas within brackets belong to a value.

    Raises:
        ValueError: it is not of that form, a value comes twice, or a method is unknown.
    """
    key, _, text = variation.partition("=")
    values = _divided(text)
    if not key or not all(values) or len(set(values)) < len(values):
        raise ValueError(
            f"`vary` must be KEY=VALUE,VALUE,..., each value once. Received: {variation!r}."
        )
    rows = []
    for method in methods or ("cam",):
        title = _title(method)
        rows.append(Row(title, method))
        for value in values:
            setting = f"{key}={value}"
            rows.append(Row(f"{title} + {setting}", method, setting, (setting,), before=title))
    return rows


def table3(methods: Sequence[str]) -> list[Row]:
    """Return methods side by side, and F-CAM on those that are named METHOD+fcam.

    CAM* stands for CAM, too, which the paper copies from others: it is the same training.

    Raises:
        ValueError: a method is unknown.
    """
    rows = []
    for name in methods or TABLE3:
        method = name.removesuffix(_PLUS)
        if "+" in method and not method.endswith(_PLUS):  # that is told by `_title`
            raise ValueError(
                f"`methods` must be names of methods, each with or without {_PLUS} at its end, "
                f"such as cam{_PLUS}. Received: {name!r}."
            )
        title = _title(method, (FSL, CENTER) if method == name else ())
        if method == name:
            rows.append(Row(title, method))
        else:
            rows.append(Row(f"{title} + F-CAM", method, FCAM, before=title))
    cam = [Row("CAM", "cam")] if any(row.title == "CAM*" for row in rows) and not methods else []
    return [*cam, *rows]


def pairs(methods: Sequence[str]) -> list[Row]:
    """Return each method, and F-CAM on it; no methods are the six of Table 3.

    Raises:
        ValueError: a method is unknown, or F-CAM is not put on it.
    """
    return table3([name for method in methods or SIX for name in (method, f"{method}{_PLUS}")])


def table5(methods: Sequence[str]) -> list[Row]:
    """Return the classifiers of `table3`; an F-CAM classifies as its classifier does.

    Raises:
        ValueError: a method is unknown, or none has a classifier.
    """
    rows = table3(methods)
    found = [row for row in rows if not row.variant and row.method not in (FSL, CENTER)]
    if not found:
        raise ValueError(
            "`methods` must name one with a classifier, such as cam: an F-CAM classifies as its "
            f"classifier does, and {FSL} and {CENTER} have no classifier. "
            f"Received: {','.join(methods)}."
        )
    return found


def _divided(text: str) -> list[str]:
    """Return what stands between commas, but for those in the brackets of a list or a dict."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _title(method: str, more: Sequence[str] = ()) -> str:
    if method.endswith(_PLUS):  # where `table3` has not taken it off
        raise ValueError(
            f"`methods` must be without {_PLUS} here. F-CAM on each method comes with it: name "
            f"{method.removesuffix(_PLUS)}. Received: {method}."
        )
    lookup(dict.fromkeys((*METHODS, *BASELINES, *more)), method, "methods")
    return _TITLES.get(method, method)
