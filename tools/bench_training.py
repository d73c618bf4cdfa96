"""Times a training step of F-CAM and its parts, interleaved in one run.

    python tools/bench_training.py --backbone resnet50 --batch 8 --size 224

Parts are measured on their own, on a natural photo's crops; weights are random, which does not
change the time. What is left of the step is the decoder, forward and backward. A stored map costs
a pass of the classifier for each image, once; the one of the step only what is listed.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags
from rich.console import Console
from rich.table import Table

_BACKBONE = flags.DEFINE_string("backbone", "resnet50", "name of the backbone")
_BATCH = flags.DEFINE_integer("batch", 8, "images in a step", lower_bound=1)
_SIZE = flags.DEFINE_integer("size", 224, "pixels on each side", lower_bound=32)
_ROUNDS = flags.DEFINE_integer("rounds", 7, "times each part is run", lower_bound=1)
_AHEAD = 10


def _photos(number: int, size: int) -> np.ndarray:
    """Cut overlapping crops out of a photo."""
    from skimage import data, transform  # noqa: PLC0415

    photo = 255 * transform.resize(data.chelsea(), (size + 32, size + 64), anti_aliasing=True)
    offsets = np.random.default_rng(0).integers(0, 32, (number, 2))
    return np.stack([photo[y : y + size, x : x + size] for y, x in offsets]).astype("float32")


def _input(batch: int, size: int, folder: str) -> Callable[[], Any]:
    """Return what reads, augments and batches JPEG files, some batches at once: it works ahead."""
    from PIL import Image  # noqa: PLC0415
    from skimage import data  # noqa: PLC0415

    from fcam_tf.data import Split, training_dataset  # noqa: PLC0415

    paths = []
    for n in range(batch * 4):
        paths.append(Path(folder, f"{n}.jpg"))
        Image.fromarray(data.chelsea()).save(paths[-1], quality=90)
    split = Split(
        "train", tuple(p.name for p in paths), tuple(paths), np.zeros(len(paths), "int64"), ("a",)
    )
    resize = size + size // 7
    batches = iter(
        training_dataset(split, batch_size=batch, resize=resize, crop=size, first_epoch=0)
    )
    return lambda: [next(batches)[0] for _ in range(_AHEAD)]


def main(argv: list[str]) -> None:
    """Print the table."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    import keras  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    from fcam_tf import cams, losses, models  # noqa: PLC0415

    batch, size = _BATCH.value, _SIZE.value
    model = models.FCAM(models.Classifier(_BACKBONE.value, 200, weights=None))
    classifier = model.classifier
    images, labels = tf.constant(_photos(batch, size)), np.zeros(batch, "int32")
    rng = np.random.default_rng(0)
    maps = tf.image.resize(tf.constant(rng.random((batch, 14, 14, 1), "float32")), (size, size))
    logits = tf.concat([maps, 1 - maps], axis=-1)
    draws = keras.random.SeedGenerator(0)

    @tf.function
    def crf() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            total = tf.reduce_sum(losses.crf_loss(images, tf.nn.softmax(logits)))
        return tape.gradient(total, logits)

    forward = tf.function(lambda: classifier(images, training=False))
    cam = cams.get("cam", classifier)
    features = cam.split.activations(images)
    online = tf.function(lambda: cam.from_features(features, labels))
    seeds = tf.function(lambda: losses.sample_seeds(maps[..., 0], draws))
    with tempfile.TemporaryDirectory() as folder:
        calls = {
            "whole step": lambda: model.train_on_batch(images, labels),
            "input (in parallel)": _input(batch, size, folder),
            "frozen classifier": forward,
            "coarse map": online,
            "seeds": seeds,
            "CRF loss and gradient": crf,
        }
        times: dict[str, list[float]] = {name: [] for name in calls}
        for call in calls.values():
            call()
        for _ in range(_ROUNDS.value):
            for name, call in calls.items():
                start = time.perf_counter()
                np.asarray(call())
                times[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in times.items()}
    median["input (in parallel)"] /= _AHEAD
    inside = ("frozen classifier", "coarse map", "seeds", "CRF loss and gradient")
    rest = median["whole step"] - sum(median[name] for name in inside)
    median["decoder, forward and backward"] = rest

    table = Table(title=f"{_BACKBONE.value}, {size} pixels, batch {batch}")
    for column in ("part", "ms/image", "images/s", "share of the step, %"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for name, seconds in median.items():
        share = 100 * seconds / median["whole step"]
        table.add_row(
            name, f"{1000 * seconds / batch:.2f}", f"{batch / seconds:.1f}", f"{share:.2f}"
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    app.run(main)
