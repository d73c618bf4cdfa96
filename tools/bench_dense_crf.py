"""Times inference in a dense CRF on a photo, beside pydensecrf where it is installed.

    FCAM_THREADS=1 python tools/bench_dense_crf.py

From energies to marginals: the lattice, its normalisation and five iterations. All columns of a row
come from the same rounds, one after the other in each, so that a slow moment of the machine hits
all of them; the ratio is the median of those of each round. Times are medians in milliseconds.
On a machine that others use too, `--processor` gives the least processor times and their ratio.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags
from common import print_table, start, times
from scipy.ndimage import gaussian_filter
from skimage import data, transform

_ROUNDS = flags.DEFINE_integer("rounds", 11, "rounds of each row", lower_bound=3)
_PROCESSOR = flags.DEFINE_bool("processor", False, "least processor times: for one thread")
_BILATERAL, _SPATIAL = (10.0, 80.0, 13.0), (3.0, 3.0)  # the usual ones of pydensecrf
_ITERATIONS = 5
# height, width, classes, with a spatial kernel
_CASES = ((375, 500, 2, False), (375, 500, 2, True), (375, 500, 21, False), (375, 500, 21, True))


def _example(height: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a photo (H, W, 3) uint8 and smooth energies (H, W, K) float32."""
    photo = transform.resize(data.coffee(), (height, width), anti_aliasing=True)
    noise = np.random.default_rng(0).normal(size=(height, width, classes))
    energies = gaussian_filter(noise, (height / 10, width / 10, 0))
    return np.rint(255 * photo).astype(np.uint8), (energies / energies.std()).astype(np.float32)


def _ours(photo: np.ndarray, energies: np.ndarray, spatial: bool) -> Callable[[], Any]:
    from fcam_tf import ops  # noqa: PLC0415 - after the flags were read

    images, unaries = photo[None], energies[None]
    return lambda: ops.dense_crf(
        images=images,
        unaries=unaries,
        bilateral=_BILATERAL,
        spatial=_SPATIAL if spatial else None,
        iterations=_ITERATIONS,
    )


def _peer(photo: np.ndarray, energies: np.ndarray, spatial: bool) -> Callable[[], Any]:
    densecrf = importlib.import_module("pydensecrf.densecrf")
    height, width, classes = energies.shape
    flat = np.ascontiguousarray(energies.reshape(-1, classes).T)

    def call() -> np.ndarray:
        crf = densecrf.DenseCRF2D(width, height, classes)
        crf.setUnaryEnergy(flat)
        if spatial:
            crf.addPairwiseGaussian(sxy=_SPATIAL[1], compat=_SPATIAL[0])
        weight, sigma_xy, sigma_rgb = _BILATERAL
        crf.addPairwiseBilateral(sxy=sigma_xy, srgb=sigma_rgb, rgbim=photo, compat=weight)
        return np.array(crf.inference(_ITERATIONS))

    return call


def main() -> None:
    """Print the table."""
    peer = importlib.util.find_spec("pydensecrf") is not None
    clock = time.process_time if _PROCESSOR.value else time.perf_counter
    chosen = min if _PROCESSOR.value else statistics.median
    rows: list[list[str]] = []
    for height, width, classes, spatial in _CASES:
        example = (*_example(height, width, classes), spatial)
        calls = {"dense_crf": _ours(*example)} | ({"pydensecrf": _peer(*example)} if peer else {})
        found = times(calls, _ROUNDS.value, clock)
        row = [f"{1000 * chosen(seconds):.1f}" for seconds in found.values()]
        if peer:
            pairs = list(zip(found["pydensecrf"], found["dense_crf"], strict=True))
            if _PROCESSOR.value:
                pairs = [(min(found["pydensecrf"]), min(found["dense_crf"]))]
            row.append(f"{statistics.median(theirs / ours for theirs, ours in pairs):.1f}")
        kernels = "bilateral and spatial" if spatial else "bilateral"
        rows.append([f"{width}x{height}, K={classes}, {kernels}", *row])
    title = f"Mean field, ms an image; threads: {os.environ.get('FCAM_THREADS', 'all')}"
    print_table(title, ["case", *calls, *["ratio"] * peer], rows)


if __name__ == "__main__":
    start(main)
