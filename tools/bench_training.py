"""Times a training step of F-CAM and its parts, interleaved in one run.

    python tools/bench_training.py --backbone resnet50 --batch 8 --size 224
    python tools/bench_training.py --backbone resnet50 --classifiers cam,has,acol

Parts are measured on their own, on a natural photo's crops; weights are random, which does not
change the time. What is left of the step is the decoder, forward and backward. A second table
compares the two ways of getting coarse maps: made in each step from the features of the crop, or
made once for each whole image, stored and read. With --classifiers, steps of the first stage are
timed instead: of a plain classifier (cam) and of those of baselines, where everything trains. What
HaS and CutMix change of a batch is done in the step here; in training it is done beside it.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags
from common import print_table, start, times

if TYPE_CHECKING:
    from fcam_tf.data import Split

_BACKBONE = flags.DEFINE_string("backbone", "resnet50", "name of the backbone")
_BATCH = flags.DEFINE_integer("batch", 8, "images in a step", lower_bound=1)
_SIZE = flags.DEFINE_integer("size", 224, "pixels on each side", lower_bound=32)
_METHOD = flags.DEFINE_string("method", "cam", "CAM method that teaches")
_CLASSIFIERS = flags.DEFINE_list("classifiers", [], "cam and names of baselines, with commas")
_STRIDE = flags.DEFINE_integer("output_stride", None, "of the backbone; default: its own")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "times each part is run", lower_bound=1)
_AHEAD = 10


def _photos(number: int, size: int) -> np.ndarray:
    """Cut overlapping crops out of a photo."""
    from skimage import data, transform  # noqa: PLC0415

    photo = 255 * transform.resize(data.chelsea(), (size + 32, size + 64), anti_aliasing=True)
    offsets = np.random.default_rng(0).integers(0, 32, (number, 2))
    return np.stack([photo[y : y + size, x : x + size] for y, x in offsets]).astype("float32")


def _split(batch: int, folder: str) -> Split:
    """Write JPEG files for four batches."""
    from PIL import Image  # noqa: PLC0415
    from skimage import data  # noqa: PLC0415

    from fcam_tf.data import Split  # noqa: PLC0415

    paths = []
    for n in range(batch * 4):
        paths.append(Path(folder, f"{n}.jpg"))
        Image.fromarray(data.chelsea()).save(paths[-1], quality=90)
    names, labels = tuple(p.name for p in paths), np.zeros(len(paths), "int64")
    return Split("train", names, tuple(paths), labels, ("a",))


def _input(split: Split, batch: int, size: int) -> Callable[[], Any]:
    """Return what reads, augments and batches the files, some batches at once: it works ahead."""
    from fcam_tf.data import training_dataset  # noqa: PLC0415

    resize = size + size // 7
    batches = iter(
        training_dataset(split, batch_size=batch, resize=resize, crop=size, first_epoch=0)
    )
    return lambda: [next(batches)[0] for _ in range(_AHEAD)]


def _storing(cam: Any, split: Split, batch: int, size: int, folder: str) -> Callable[[], Any]:
    """Return what makes and writes the maps of all files, each time into another folder."""
    from fcam_tf.training.cam_store import stored_cams  # noqa: PLC0415

    numbers = itertools.count()

    def store() -> Any:
        kept = Path(folder, f"cams{next(numbers)}")
        return stored_cams(cam, split, kept, {}, size=size, batch_size=batch, verbose=0)

    return store


def _times(batch: int, size: int) -> dict[str, float]:
    """Return the median seconds of a step, of its parts, and of making maps for one image."""
    import keras  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    from fcam_tf import cams, losses, models  # noqa: PLC0415

    given = models.Classifier(_BACKBONE.value, 200, output_stride=_STRIDE.value, weights=None)
    model = models.FCAM(given, method=_METHOD.value)
    classifier = model.classifier  # its copy
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
    cam = cams.get(_METHOD.value, classifier)
    features, scores = cam.split.activations(images), classifier(images)
    online = tf.function(
        (lambda: cam.from_features(features, labels, scores))
        if cam.needs_only_features
        else (lambda: cam.raw_maps(images, labels)[0])
    )
    stored = {"label": labels, "cam": rng.random((batch, 28, 28), "float32")}
    seeds = tf.function(lambda: losses.sample_seeds(maps[..., 0], draws))
    with tempfile.TemporaryDirectory() as folder:
        split = _split(batch, folder)
        calls = {
            "whole step": lambda: model.train_on_batch(images, labels),
            "stored maps": lambda: model.train_on_batch(images, stored),
            "storing": _storing(cam, split, batch, size, folder),
            "input (in parallel)": _input(split, batch, size),
            "frozen classifier": forward,
            "coarse map": online,
            "seeds": seeds,
            "CRF loss and gradient": crf,
        }
        found = times(calls, _ROUNDS.value)
    median = {name: statistics.median(values) for name, values in found.items()}
    median["input (in parallel)"] /= _AHEAD
    median["storing"] /= len(split)
    return median


def _classifier_step(method: str, images: np.ndarray, labels: np.ndarray) -> Callable[[], Any]:
    from fcam_tf import models  # noqa: PLC0415

    classifier = models.Classifier(
        _BACKBONE.value,
        200,
        output_stride=_STRIDE.value,
        weights=None,
        baseline=None if method == "cam" else method,
    )
    if not classifier.baseline.augments:
        return lambda: classifier.train_on_batch(images, labels)
    return lambda: classifier.train_on_batch(*classifier.baseline.augment(images, labels))


def _print_classifiers(batch: int, size: int) -> None:
    images, labels = _photos(batch, size), np.arange(batch) % 200
    steps = {name: _classifier_step(name, images, labels) for name in _CLASSIFIERS.value}
    found = times(steps, _ROUNDS.value)
    first = found[_CLASSIFIERS.value[0]]
    rows = [
        (name, f"{batch / min(taken):.1f}", f"{np.median(np.divide(taken, first)):.2f}")
        for name, taken in found.items()
    ]
    title = f"classifiers of {_BACKBONE.value}, {size} pixels, batch {batch}"
    print_table(title, ("method", "images/s", f"times {_CLASSIFIERS.value[0]}'s step"), rows)


def main() -> None:
    """Print the tables."""
    batch, size = _BATCH.value, _SIZE.value
    if _CLASSIFIERS.value:
        _print_classifiers(batch, size)
        return
    median = _times(batch, size)
    inside = ("frozen classifier", "coarse map", "seeds", "CRF loss and gradient")
    rest = median["whole step"] - sum(median[name] for name in inside)
    median["decoder, forward and backward"] = rest

    with_stored, storing = median.pop("stored maps"), median.pop("storing")

    whole = median["whole step"]
    rows = [
        (name, f"{1000 * s / batch:.2f}", f"{batch / s:.1f}", f"{100 * s / whole:.2f}")
        for name, s in median.items()
    ]
    title = f"{_BACKBONE.value}, {size} pixels, batch {batch}"
    print_table(title, ("part", "ms/image", "images/s", "fraction of the step, %"), rows)

    once, step = 1000 * storing, 1000 / batch
    rows = [
        ("online", "0.00", f"{step * whole:.2f}"),
        ("stored", f"{once:.2f}", f"{step * with_stored:.2f}"),
    ]
    print_table(f"coarse maps of {_METHOD.value}, ms/image", ("made", "once", "each step"), rows)


if __name__ == "__main__":
    start(main)
