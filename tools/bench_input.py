"""Measures how many images per second the input pipelines deliver, with no model behind them.

    python tools/bench_input.py --data ../shared/data/pets3

Without --data a generated data set of 256-pixel pictures is written to a temporary folder.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from common import print_table, start

_DATA = flags.DEFINE_string("data", None, "a data set in the benchmark's layout")
_SPLIT = flags.DEFINE_string("split", "train", "its split")
_EPOCHS = flags.DEFINE_integer("epochs", 3, "of which the fastest counts", lower_bound=1)


def _throughput(dataset: Any) -> float:
    """Return the images per second in the fastest epoch, after one to warm up."""
    taken = []
    for _ in range(_EPOCHS.value + 1):
        begin = time.perf_counter()
        count = sum(len(image) for image, _ in dataset)
        taken.append((time.perf_counter() - begin) / count)
    return 1 / min(taken[1:])


def main() -> None:
    """Print the table."""
    from fcam_tf import data  # noqa: PLC0415 - after the flags were read

    with tempfile.TemporaryDirectory() as folder:
        shapes = Path(folder, "shapes")
        root = _DATA.value or data.write_shapes(shapes, {_SPLIT.value: 300}, size=256)
        split = data.load_wsol(root, _SPLIT.value)
        cams = np.zeros((len(split), 28, 28), np.float32)
        pipelines = {
            "training 256 -> 224": data.training_dataset(split),
            "training with 28x28 CAMs": data.training_dataset(split, cams=cams),
            "evaluation 224": data.evaluation_dataset(split),
        }
        rows = [(name, f"{_throughput(each):.0f}") for name, each in pipelines.items()]
    title = f"{Path(root).name}/{_SPLIT.value}: {len(split)} images, {os.cpu_count()} cores"
    print_table(title, ("pipeline", "images/s"), rows)


if __name__ == "__main__":
    start(main)
