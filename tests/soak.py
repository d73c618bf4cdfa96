"""Repeats what people repeat for days, and tells whether memory, open files and threads stay flat.

    python -m tests.soak                    # the full counts, some hours
    python -m tests.soak --share 0.02 --loop photos

Each loop runs in a process of its own, on models so small that the work around them is what
counts. The first fifth of the rounds warms up; the median of the second is compared with that of
the last. Ends with status 1 where a loop grows by more than its bound.
"""

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from fcam_tf import losses, ops, zoo
from fcam_tf.models import BACKBONES, FCAM, Classifier
from fcam_tf.predict import Localizer, localize_files
from tests.models.tiny import tiny_backbone, tiny_classifier

ROUNDS = 50
BACKBONE = "efficientnetlite_b0"


def _training(_: Path, steps: int) -> Iterator[None]:
    """Train an F-CAM: an epoch a round."""
    model = FCAM.from_classifier(tiny_classifier(), decoder_filters=(8, 6, 4))
    images = np.random.default_rng(0).integers(0, 256, (2 * steps, 32, 32, 3)).astype("float32")
    model.compile(optimizer="adam", loss=losses.FCAMLoss(erosion=3, windows={}))
    while True:
        model.fit(images, np.zeros(len(images), "int32"), batch_size=2, verbose=0)
        yield


def _photos(folder: Path, count: int) -> Iterator[None]:
    """Localise links to one photo, each round into a new folder."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    photos = folder / "photos"
    photos.mkdir()
    Image.fromarray(pixels).save(photos / "0.jpg")
    for number in range(1, count):
        (photos / f"{number}.jpg").hardlink_to(photos / "0.jpg")
    localizer = Localizer(tiny_classifier(32), "cam")
    while True:
        with tempfile.TemporaryDirectory(dir=folder) as out:
            localize_files(localizer, photos, out, overlay="none", heatmap="none")
        yield


def _calls(_: Path, count: int) -> Iterator[None]:
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype("float32")
    maps = np.full((2, 16, 16, 2), 0.5, np.float32)
    while True:
        for _ in range(count):
            losses.crf_loss(images, maps)
            ops.bilateral_filter(maps, images)
            ops.dense_crf(maps, images)
        yield


def _loads(folder: Path, count: int) -> Iterator[None]:
    BACKBONES[BACKBONE] = tiny_backbone(BACKBONE)
    model = FCAM(Classifier(BACKBONE, 3, weights=None))
    entry = f"{BACKBONE}_cam.tiny"
    zoo.save(model, entry, folder, trained_on="nothing", licence="Apache-2.0")
    os.environ["FCAM_ZOO"] = os.fspath(folder)
    while True:
        for _ in range(count):
            zoo.load(entry)
        yield


@dataclasses.dataclass(frozen=True)
class Loop:
    """What is repeated, how often in a full run, and by how many MB it may grow."""

    run: Callable[[Path, int], Iterator[None]]
    times: int
    bound: float


LOOPS = {
    "training steps": Loop(_training, 10_000, 30),
    "photos localised": Loop(_photos, 100_000, 30),
    "calls of each op": Loop(_calls, 10_000, 5),
    "loads of the zoo": Loop(_loads, 2_000, 30),
}


def _state() -> tuple[float, int, int]:
    """Return the resident MB, the open files and the threads of this process."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    files, threads = (len(list(Path("/proc/self", name).iterdir())) for name in ("fd", "task"))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, files, threads


def measure(name: str, share: float) -> bool:
    """Run a loop, print its row of the table, and tell whether it stayed flat."""
    loop = LOOPS[name]
    count = max(1, round(loop.times * share / ROUNDS))
    states = []
    with tempfile.TemporaryDirectory() as folder:
        rounds = loop.run(Path(folder), count)
        for _ in range(ROUNDS):
            next(rounds)
            states.append(_state())
        rounds.close()
    fifth = ROUNDS // 5
    first, last = states[fifth : 2 * fifth], states[-fifth:]
    (before, *others), (after, *others_after) = (
        [statistics.median(column) for column in zip(*part, strict=True)] for part in (first, last)
    )
    flat = after - before <= loop.bound and others_after <= others
    pairs = (f"{a:g}, {b:g}" for a, b in zip(others, others_after, strict=True))
    cells = [name, str(count * ROUNDS), f"{before:.0f}", f"{after:.0f}", *pairs]
    sys.stdout.write(f"| {' | '.join(cells)} |{'' if flat else ' it grows'}\n")
    return flat


def main() -> int:
    """Run the loops that are asked for, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the full counts")
    parser.add_argument("--loop", choices=LOOPS, action="append", help="may be repeated")
    parser.add_argument("--here", action="store_true", help="the row of one, in this process")
    values = parser.parse_args()
    names = values.loop or list(LOOPS)
    if values.here:
        return 0 if measure(names[0], values.share) else 1
    sys.stdout.write("| | times | MB before | MB after | open files | threads |\n")
    sys.stdout.write("|---|---|---|---|---|---|\n")
    sys.stdout.flush()
    command = [sys.executable, "-m", "tests.soak", "--here", f"--share={values.share}", "--loop"]
    return max(subprocess.run([*command, name], check=False).returncode for name in names)


if __name__ == "__main__":
    sys.exit(main())
