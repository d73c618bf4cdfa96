"""The numbers that the paper prints, and on ILSVRC the benchmark; each file says where."""

import csv
import functools
from collections.abc import Mapping
from importlib import resources

# On what data set the numbers of each metric are.
DATA: Mapping[str, str] = {"MaxBoxAcc": "CUB", "MaxBoxAccV2": "CUB", "PxAP": "OpenImages"}
ILSVRC: Mapping[str, str] = {"MaxBoxAccV2": "ILSVRC"}
MEAN = "mean"  # the column over these
BACKBONES = frozenset({"vgg16", "inceptionv3", "resnet50"})


def data_of(recipe: str) -> Mapping[str, str]:
    """Return which data set's numbers stand beside those that a recipe gives, by metric."""
    return ILSVRC if recipe == "ilsvrc" else DATA


@functools.cache
def published(recipe: str = "") -> dict[tuple[str, str, str], float]:
    """Return the printed numbers in percent by metric, row and backbone (or `MEAN`).

    Args:
        recipe: that of a table. They are the benchmark's on ILSVRC for "ilsvrc", and for all others
            the paper's, of boxes on CUB and of pixels on OpenImages.
    """
    found: dict[tuple[str, str, str], float] = {}
    for file in ("ilsvrc",) if recipe == "ilsvrc" else ("main_table1", "table3"):
        for line in table(file):
            metric, row = line.pop("metric"), line.pop("row")
            found |= {(metric, row, name): float(text) for name, text in line.items() if text}
    return found


def table(name: str) -> list[dict[str, str]]:
    """Return the lines of a file of this package, by its name without the ending."""
    lines = resources.files(__name__).joinpath(f"{name}.csv").read_text("utf-8").splitlines()
    return list(csv.DictReader(text for text in lines if not text.startswith("#")))
