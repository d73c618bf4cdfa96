"""Times every CAM method against the plain forward pass of the same model, interleaved in one run.

    python tools/bench_cams.py --backbone resnet50 --batch 8 --size 224
    python tools/bench_cams.py --peers  # beside other libraries, see fcam_tf/paper/peers.py

Weights are random: they do not change the time. Score-CAM and its kin run the model thousands of
times for one image, so they are timed on --score_images images at --score_size pixels.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags
from common import print_table, start, times

_BACKBONE = flags.DEFINE_string("backbone", "resnet50", "name of the backbone")
_BATCH = flags.DEFINE_integer("batch", 8, "images at once", lower_bound=1)
_SIZE = flags.DEFINE_integer("size", 224, "pixels on each side", lower_bound=32)
_STRIDE = flags.DEFINE_integer("output_stride", None, "of the backbone; default: its own")
_PEERS = flags.DEFINE_bool("peers", False, "time the methods of other libraries too")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "times each method is run", lower_bound=1)
_SCORE_IMAGES = flags.DEFINE_integer(
    "score_images", 0, "images for the score methods; 0 leaves them out", lower_bound=0
)
_CHANNELS = flags.DEFINE_integer(
    "channels", 0, "also time the score methods with the K channels that vary most", lower_bound=0
)
_SCORE_SIZE = flags.DEFINE_integer("score_size", 64, "pixels on each side for the score methods")


_AVERAGES: dict[str, dict[str, Any]] = {
    "": {},
    ", flip": {"flip": True},
    ", scales 1,1.5,2, flip": {"scales": (1, 1.5, 2), "flip": True},
}


def _forward(model: Any, images: Any) -> Callable[[], Any]:
    import tensorflow as tf  # noqa: PLC0415 - after the flags were read

    run = tf.function(lambda x: model(x, training=False), reduce_retracing=True)
    return lambda: run(images)


def _measure(model: Any, names: list[str], images: Any, rounds: int) -> list[tuple[str, ...]]:
    from fcam_tf import cams, models  # noqa: PLC0415

    labels = np.zeros(len(images), "int32")
    methods = {name: cams.get(name, model) for name in names}
    calls = {"forward pass": _forward(model, images)} | {
        name: lambda method=method: method(images, labels) for name, method in methods.items()
    }
    for name in (
        names if _CHANNELS.value and issubclass(cams.METHODS[names[0]], cams.ScoreCAM) else ()
    ):
        few = cams.get(name, model, channels=_CHANNELS.value)
        calls[f"{name}, {_CHANNELS.value} channels"] = lambda few=few: few(images, labels)
    if "layercam" in methods and hasattr(model, "feature_maps"):
        for told, options in _AVERAGES.items():
            fused = cams.get("layercam", model, ["P4", "P5"], **options)
            calls[f"layercam P4+P5{told}"] = lambda fused=fused: fused(images, labels)
        decoder = models.FCAM.from_classifier(model).maps_and_logits
        calls["fcam"] = lambda: decoder(images)
        calls["fcam, flip"] = lambda: decoder(images, flip=True)
    if _PEERS.value and "gradcam" in names:
        from fcam_tf.paper import peers  # noqa: PLC0415

        theirs = peers.calls(model, images)
        calls |= {f"{library}: {method}": call for library, method, call in theirs}
    found, rows = times(calls, rounds), []
    for name, values in found.items():
        median = statistics.median(values)
        ratio = np.median(np.divide(values, found["forward pass"]))
        speed = f"{len(images) / median:.2f}", f"{1000 * median / len(images):.1f}"
        rows.append((name, f"{images.shape[1]}", *speed, f"{ratio:.3f}"))
    return rows


def main() -> None:
    """Print the table."""
    from fcam_tf import cams, models  # noqa: PLC0415

    model = models.Classifier(_BACKBONE.value, 200, output_stride=_STRIDE.value, weights=None)
    rng = np.random.default_rng(0)
    score = [name for name in cams.METHODS if issubclass(cams.METHODS[name], cams.ScoreCAM)]
    quick = [name for name in cams.METHODS if name not in score]

    def images(count: int, size: int) -> Any:
        return rng.uniform(0, 255, (count, size, size, 3)).astype("float32")

    rows = _measure(model, quick, images(_BATCH.value, _SIZE.value), _ROUNDS.value)
    if _SCORE_IMAGES.value:
        rows += _measure(model, score, images(_SCORE_IMAGES.value, _SCORE_SIZE.value), 1)
    title = f"{_BACKBONE.value}, stride {model.output_stride}, batch {_BATCH.value}"
    columns = ("method", "pixels", "images/s", "ms/image", "times the forward pass")
    print_table(title, columns, rows)


if __name__ == "__main__":
    start(main)
