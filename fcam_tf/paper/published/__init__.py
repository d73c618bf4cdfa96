"""The numbers that the paper prints; each file says where they stand."""

import csv
import functools
from importlib import resources

DATA = {"MaxBoxAcc": "CUB", "MaxBoxAccV2": "CUB", "PxAP": "OpenImages"}  # measured on
MEAN = "mean"  # the column over these
BACKBONES = frozenset({"vgg16", "inceptionv3", "resnet50"})


@functools.cache
def published() -> dict[tuple[str, str, str], float]:
    """Return the printed numbers in percent by metric, row and backbone (or `MEAN`)."""
    found: dict[tuple[str, str, str], float] = {}
    for file in sorted(resources.files(__name__).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".csv"):
            lines = file.read_text("utf-8").splitlines()
            for line in csv.DictReader(text for text in lines if not text.startswith("#")):
                metric, row = line.pop("metric"), line.pop("row")
                found |= {(metric, row, name): float(text) for name, text in line.items() if text}
    return found
