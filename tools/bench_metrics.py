"""Times the metrics against the straightforward procedure, interleaved in one run.

    python tools/bench_metrics.py

The procedure is the tests' oracle: for each of 1000 thresholds one binary map and OpenCV's
contours, one image at a time; for PxAP the pixels above each threshold are counted. "PxAP hist"
compares with two numpy histograms, which is how the reference's code counts. The results must
be equal.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from fcam_tf import metrics

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "metrics"))
import wsol_oracle as oracle  # noqa: E402  (found through the line above)

Score = Callable[[], float]
SIZE = 224
TARGETS = {"MaxBoxAccV2": 20, "PxAP": 5, "PxAP hist": 5}


def scoremaps() -> dict[str, np.ndarray]:
    """Maps from smooth to pure noise, (4, 224, 224) each."""
    rng = np.random.default_rng(0)

    def smooth(cells: int) -> np.ndarray:
        return np.stack(
            [metrics.normalize_cam(rng.random((cells, cells)), (SIZE, SIZE)) for _ in range(4)]
        )

    y, x = np.mgrid[:SIZE, :SIZE]
    bump = np.exp(-((x - 120) ** 2 + (y - 90) ** 2) / (2 * 40**2))
    noise = rng.random((4, SIZE, SIZE))
    return {
        "one Gaussian": np.stack([bump] * 4),
        "smooth 7x7": smooth(7),
        "smooth 28x28": smooth(28),
        "smooth 28x28 + 5 % noise": np.clip(smooth(28) * 0.95 + noise * 0.05, 0, 1),
        "decoder-like (sharp, flat)": 1 / (1 + np.exp(-30 * (smooth(7) - 0.5))),
        "white noise": noise,
    }


def seconds(function: Score, repeats: int) -> float:
    """Least process time over a few repeats."""
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        function()
        best = min(best, time.process_time() - start)
    return best


def contests(maps: np.ndarray) -> Iterator[tuple[str, Score, Score]]:
    """Metric, our score, the oracle's score of four maps."""
    thresholds = metrics.threshold_grid()
    rng = np.random.default_rng(1)
    corner = rng.integers(0, 100, (4, 1, 2))
    boxes = list(np.concatenate([corner, corner + rng.integers(40, 120, (4, 1, 2))], axis=2))
    masks = np.zeros((4, SIZE, SIZE), np.uint8)
    for mask, [[x0, y0, x1, y1]] in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = 1

    def ours(metric: metrics.MaxBoxAccV2 | metrics.PxAP, truth: list) -> float:
        metric.reset_state()
        metric.update_state(maps, truth)
        return metric.result()

    v2, pxap = metrics.MaxBoxAccV2(), metrics.PxAP()

    def v2_oracle() -> float:
        curves = oracle.box_accuracy(maps, boxes, thresholds, True, (0.3, 0.5, 0.7))
        return curves.max(axis=1).mean()

    yield "MaxBoxAccV2", lambda: ours(v2, boxes), v2_oracle
    yield "PxAP", lambda: ours(pxap, masks), lambda: oracle.pxap(maps, masks, thresholds)
    yield (
        "PxAP hist",
        lambda: ours(pxap, masks),
        lambda: oracle.pxap_histograms(maps, masks, thresholds),
    )


def compare(name: str, kind: str, ours: Score, theirs: Score) -> float:
    """Prints one line and returns the ratio of the times; refuses unequal results."""
    got, want = ours(), theirs()
    if not np.isclose(got, want, rtol=0, atol=1e-9):
        raise SystemExit(f"{name} on {kind}: {got} instead of {want}")
    slow, fast = np.inf, np.inf
    for _ in range(2):  # interleaved, so that other work on the machine hits both
        slow = min(slow, seconds(theirs, 1))
        fast = min(fast, seconds(ours, 5))
    print(f"{name:12} {kind:27} {slow * 250:9.2f} {fast * 250:9.2f} {slow / fast:7.1f}x")
    return slow / fast


def main() -> None:
    """Prints milliseconds per image and fails if a target is missed."""
    cv2.setNumThreads(1)
    missed = []
    print(f"{'metric':12} {'map':27} {'oracle ms':>9} {'ours ms':>9}    ratio   (per image)")
    for kind, maps in scoremaps().items():
        for name, ours, theirs in contests(maps):
            if compare(name, kind, ours, theirs) < TARGETS[name]:
                missed.append(f"{name} on {kind}")
    if missed:
        raise SystemExit(f"below target {TARGETS}: {', '.join(missed)}")


if __name__ == "__main__":
    main()
