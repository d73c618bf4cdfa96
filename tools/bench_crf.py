"""Times the CRF loss with its gradient on natural photos.

    python tools/bench_crf.py
    python tools/bench_crf.py --peer my_module:loss

All columns of a row come from the same rounds, one after the other in each, so that a slow moment
of the machine hits all of them. Times are medians in milliseconds an image. A peer is any function
(image (H, W, 3) uint8, probabilities (H, W, K) float32, sigma_rgb, sigma_xy); what it returns is
not looked at.
"""

from __future__ import annotations

import importlib
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from common import print_table, start, times
from scipy.ndimage import gaussian_filter
from skimage import data, transform

_ROUNDS = flags.DEFINE_integer("rounds", 31, "rounds of each row", lower_bound=3)
_PEER = flags.DEFINE_string("peer", None, "module:function to time beside ours")

_PHOTOS = (
    *("astronaut", "chelsea", "coffee", "rocket", "retina"),
    *("immunohistochemistry", "hubble_deep_field", "cat"),
)
# name, pixels on each side, classes, sigma_rgb, sigma_xy
_CASES = (
    ("photos", 224, 2, 15.0, 100.0),
    ("photos", 112, 2, 15.0, 50.0),
    ("photos", 224, 21, 15.0, 100.0),
    ("uniform noise", 224, 2, 15.0, 100.0),
    ("photos", 224, 2, 5.0, 20.0),
)


def _photos(size: int) -> np.ndarray:
    images = []
    for name in _PHOTOS:
        photo = getattr(data, name)()[..., :3]
        height, width = photo.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = photo[top : top + side, left : left + side]
        images.append(np.rint(255 * transform.resize(square, (size, size), anti_aliasing=True)))
    return np.stack(images).astype(np.uint8)


def _maps(batch: int, size: int, classes: int) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(batch, size, size, classes))
    logits = gaussian_filter(noise, (0, size / 10, size / 10, 0))
    exp = np.exp(1.5 * logits / logits.std())
    return (exp / exp.sum(-1, keepdims=True)).astype(np.float32)


def _calls(images: np.ndarray, maps: np.ndarray, sigmas: tuple[float, float]) -> dict[str, Any]:
    """Return what is timed: name -> (function, images that it takes)."""
    import tensorflow as tf  # noqa: PLC0415 - after the flags were read

    from fcam_tf.ops import loader  # noqa: PLC0415

    operation = loader.library().fcam_crf_loss
    batch = len(images)
    constants = {"images": tf.constant(images), "probabilities": tf.constant(maps)}
    first = {name: value[:1] for name, value in constants.items()}
    attributes = {"sigma_rgb": sigmas[0], "sigma_xy": sigmas[1]}
    calls = {
        f"op, batch {batch}": (lambda: operation(**constants, **attributes), batch),
        "op, batch 1": (lambda: operation(**first, **attributes), 1),
        "copy": (lambda: (images.copy(), maps.copy(), maps.copy()), batch),
    }
    if _PEER.value:
        calls["peer"] = (_peer(images, maps, sigmas), batch)
    return calls


def _peer(images: np.ndarray, maps: np.ndarray, sigmas: tuple[float, float]) -> Callable[[], None]:
    module, _, name = _PEER.value.partition(":")
    function = getattr(importlib.import_module(module), name)

    def call() -> None:
        for image, probabilities in zip(images, maps, strict=True):
            function(image, probabilities, *sigmas)

    return call


def _clock() -> float | None:
    """Return the processor's clock in GHz as the system states it."""
    cpuinfo = Path("/proc/cpuinfo")
    stated = re.search(r"cpu MHz\s*: ([\d.]+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return float(stated[1]) / 1000 if stated else None


def main() -> None:
    """Print the table."""
    clock = _clock()
    rows: list[list[str]] = []
    for name, size, classes, *sigmas in _CASES:
        images = _photos(size)
        if name == "uniform noise":
            images = np.random.default_rng(0).integers(0, 256, images.shape, np.uint8)
        calls = _calls(images, _maps(len(images), size, classes), tuple(sigmas))
        found = times({name: call for name, (call, _) in calls.items()}, _ROUNDS.value)
        row = {name: 1000 * statistics.median(found[name]) / n for name, (_, n) in calls.items()}
        cycles = f"{row['op, batch 1'] * clock * 1e6 / size**2:.0f}" if clock else "?"
        ratios = [f"{row['op, batch 1'] / row['copy']:.0f}"]
        ratios += [f"{row['peer'] / row['op, batch 1']:.1f}"] if _PEER.value else []
        case = f"{name} {size}, K={classes}, sigmas {sigmas[0]:g}/{sigmas[1]:g}"
        rows.append([case, *(f"{value:.3f}" for value in row.values()), cycles, *ratios])
    extra = ["cycles/pixel", "batch 1 / copy", *["peer / batch 1"] * bool(_PEER.value)]
    title = f"CRF loss and gradient, ms per image; clock {clock or '?'} GHz"
    print_table(title, ["case", *row, *extra], rows)


if __name__ == "__main__":
    start(main)
