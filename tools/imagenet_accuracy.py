"""Top-1 and top-5 accuracy of a pretrained classifier on ImageNet photos.

    python tools/imagenet_accuracy.py --data ../shared/data/in1k --splits train,val

The folder is laid out as the WSOL benchmark does: images/, metadata/SPLIT/class_labels.txt with
lines "id,label". Photos are resized straight to --size, antialiased, as its evaluation does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

_DATA = flags.DEFINE_string("data", "../shared/data/in1k", "folder of the data set")
_SPLITS = flags.DEFINE_list("splits", ["train", "val"], "splits to read")
_BACKBONE = flags.DEFINE_string("backbone", "efficientnetlite_b0", "a backbone with its head")
_SIZE = flags.DEFINE_integer("size", 224, "pixels on each side")
_STRIDES = flags.DEFINE_list("strides", ["32", "16", "8"], "output strides to compare")
_BATCH = flags.DEFINE_integer("batch", 32, "images at once")


def _read(folder: Path, splits: list[str]) -> tuple[list[Path], np.ndarray]:
    lines = [
        line.rsplit(",", 1)
        for split in splits
        for line in (folder / "metadata" / split / "class_labels.txt").read_text().splitlines()
    ]
    return [folder / "images" / name for name, _ in lines], np.array([int(n) for _, n in lines])


def _ranks(model: Any, paths: list[Path], labels: np.ndarray, description: str) -> np.ndarray:
    """Return how many classes score above the true one, for each photo."""
    ranks = []
    size = (_SIZE.value, _SIZE.value)
    for start in track(range(0, len(paths), _BATCH.value), description):
        part = slice(start, start + _BATCH.value)
        photos = [Image.open(path).convert("RGB") for path in paths[part]]
        images = np.stack([np.asarray(p.resize(size, Image.Resampling.BILINEAR)) for p in photos])
        logits = model.predict_on_batch(images)
        ranks.append((logits > np.take_along_axis(logits, labels[part, None], 1)).sum(1))
    return np.concatenate(ranks)


def main(argv: list[str]) -> None:
    """Print the table."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    from fcam_tf import models  # noqa: PLC0415 - after the flags were read

    paths, labels = _read(Path(_DATA.value), _SPLITS.value)
    table = Table(title=f"{_BACKBONE.value}, {len(paths)} photos at {_SIZE.value} pixels")
    for column in ("output stride", "top-1 %", "top-5 %"):
        table.add_column(column, justify="right")
    for stride in _STRIDES.value:
        model = models.Classifier(_BACKBONE.value, output_stride=int(stride))
        ranks = _ranks(model, paths, labels, f"stride {stride}")
        table.add_row(stride, f"{100 * (ranks < 1).mean():.1f}", f"{100 * (ranks < 5).mean():.1f}")
    Console().print(table)


if __name__ == "__main__":
    app.run(main)
