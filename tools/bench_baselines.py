"""Times a training step of every training-time baseline against plain CAM, interleaved in one run.

    python tools/bench_baselines.py --backbone efficientnetlite_b0 --batch 8 --size 224

Weights are random and everything trains. What HaS and CutMix change of a batch is done in the step
here; a data pipeline does it beside the training.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from absl import flags
from common import print_table, start, times

_BACKBONE = flags.DEFINE_string("backbone", "efficientnetlite_b0", "name of the backbone")
_STRIDE = flags.DEFINE_integer("output_stride", 16, "pixels for one cell of the coarse map")
_BATCH = flags.DEFINE_integer("batch", 8, "images in a step", lower_bound=1)
_SIZE = flags.DEFINE_integer("size", 224, "pixels on each side", lower_bound=32)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "steps of each method", lower_bound=1)


def _step(name: str, images: np.ndarray, labels: np.ndarray) -> Callable[[], object]:
    from fcam_tf import models  # noqa: PLC0415 - after the flags were read

    classifier = models.Classifier(
        _BACKBONE.value,
        200,
        output_stride=_STRIDE.value,
        weights=None,
        baseline=None if name == "cam" else name,
    )
    if not classifier.baseline.augments:
        return lambda: classifier.train_on_batch(images, labels)
    return lambda: classifier.train_on_batch(*classifier.baseline.augment(images, labels))


def main() -> None:
    """Measure, and print the table."""
    from fcam_tf import baselines  # noqa: PLC0415

    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (_BATCH.value, _SIZE.value, _SIZE.value, 3)).astype("float32")
    labels = np.arange(_BATCH.value) % 200
    steps = {name: _step(name, images, labels) for name in ("cam", *baselines.METHODS)}
    found = times(steps, _ROUNDS.value)
    rows = [
        (
            name,
            f"{_BATCH.value / min(taken):.1f}",
            f"{np.median(np.divide(taken, found['cam'])):.2f}",
        )
        for name, taken in found.items()
    ]
    title = f"{_BACKBONE.value}, stride {_STRIDE.value}, {_SIZE.value} pixels"
    print_table(title, ("method", "images/s", "times plain CAM's step"), rows)


if __name__ == "__main__":
    start(main)
