"""Measures how many images per second the input pipelines deliver, with no model behind them.

    python tools/bench_input.py [DATA] [--split train]

Without DATA a generated data set of 256-pixel pictures is written to a temporary folder.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from fcam_tf.data import evaluation_dataset, load_wsol, training_dataset, write_shapes


def throughput(dataset: tf.data.Dataset, epochs: int = 3) -> float:
    """Images per second in the best of a few epochs, after one to warm up."""
    best = 0.0
    for epoch in range(epochs + 1):
        start, count = time.perf_counter(), 0
        for image, _ in dataset:
            count += len(image)
        if epoch:
            best = max(best, count / (time.perf_counter() - start))
    return best


def main() -> None:
    """Prints one line for each pipeline."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--split", default="train")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = args.data or write_shapes(Path(folder) / "shapes", {args.split: 300}, size=256)
        split = load_wsol(data, args.split)
        cams = np.zeros((len(split), 28, 28), np.float32)
        pipelines = {
            "training 256 -> 224": training_dataset(split),
            "training with 28x28 CAMs": training_dataset(split, cams=cams),
            "evaluation 224": evaluation_dataset(split),
        }
        print(f"{data.name}/{args.split}: {len(split)} images, {os.cpu_count()} cores")
        for name, dataset in pipelines.items():
            print(f"{name:26} {throughput(dataset):8.0f} images/s")


if __name__ == "__main__":
    main()
