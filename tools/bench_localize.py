"""Measures `fcam localize` against the bare forward pass of its model, in turn in one run.

    python tools/bench_localize.py --data ../shared/data/pets3

The photos are mosaics of the photos below --data, or of scikit-image's, as JPEG files of one and of
twelve megapixels in a temporary folder: fifty different ones, each under several names. The bare
pass runs the same model on as many batches of the same size, which are in memory already, in a
process of its own: its threads are as TensorFlow starts them, and `fcam localize` divides the
cores. On a machine that is not idle, the ratio of the processors' time says more than that of the
clock. A round should have sixteen batches or more, as its first one is done alone.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags
from common import print_table, start
from PIL import Image
from skimage import data

from fcam_tf.commands.cores import share_cores
from fcam_tf.photos import SUFFIXES

if TYPE_CHECKING:
    from fcam_tf.predict import Localizer

_DATA = flags.DEFINE_string("data", None, "folder of photos, searched recursively")
_MODEL = flags.DEFINE_string("model", "efficientnetlite_b0_layercam", "of the zoo")
_PHOTOS = flags.DEFINE_list("photos", ["1000", "150"], "how many of one and of twelve megapixels")
_BATCH = flags.DEFINE_integer("batch", 8, "photos for one call of the model", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "which the photos are divided among", lower_bound=1)

_SIZES = {"1 MP": (1152, 864), "12 MP": (4000, 3000)}  # width and height
_DIFFERENT = 50
_BARE = "bare forward pass"
_COLUMNS = (
    *("", "images/s", "of the bare pass", "in rounds", "by processor time"),
    "processor ms a photo",
)
_WAYS: dict[str, dict[str, str]] = {
    "boxes alone": {"overlay": "none", "heatmap": "none"},
    "and heat maps": {"overlay": "none"},
}


def _tiles() -> Iterator[Image.Image]:
    """Yield photos without end."""
    if _DATA.value is None:
        yield from itertools.cycle(
            Image.fromarray(each) for each in (data.chelsea(), data.coffee(), data.astronaut())
        )
    files = sorted(p for p in Path(_DATA.value).rglob("*") if p.suffix.lower() in SUFFIXES)
    for file in itertools.cycle(files):
        with Image.open(file) as image:
            yield image.convert("RGB")


def _write_photos(folder: Path, size: tuple[int, int], count: int, tiles: Any) -> None:
    """Write mosaics of tiles at their own resolution: enlarged photos would be decoded faster."""
    for n in range(min(count, _DIFFERENT)):
        photo = Image.new("RGB", size)
        for y in range(0, size[1], 250):
            for x in range(0, size[0], 250):
                photo.paste(next(tiles), (x, y))
        photo.save(folder / f"{n}.jpg", quality=90)
        for again in range(n + _DIFFERENT, count, _DIFFERENT):
            (folder / f"{again}.jpg").write_bytes((folder / f"{n}.jpg").read_bytes())


@functools.cache
def _loaded(model: str, batches: int) -> tuple[Localizer, int]:
    """Load a model as the command does that has so many batches to do; once in a process."""
    from fcam_tf import predict, zoo  # noqa: PLC0415 - TensorFlow

    calls = share_cores(batches)
    return predict.Localizer(zoo.load(model)), calls


def _bare(model: str, batch: int, photos: list[Path], _: Path) -> np.ndarray:
    localizer, _ = _loaded(model, 0)
    images = np.zeros((batch, *localizer.image_size, 3), np.uint8)
    images += np.arange(3, dtype=np.uint8)
    with _timed(photos) as seconds:
        for _ in range(0, len(photos), batch):
            localizer.classifier.predict_on_batch(images)
    return seconds


def _localize(model: str, batch: int, photos: list[Path], out: Path, **files: str) -> np.ndarray:
    from fcam_tf import predict  # noqa: PLC0415 - TensorFlow

    localizer, calls = _loaded(model, sys.maxsize)
    settings = predict.LocalizeSettings(model, "", "auto", "auto", files=predict.Files(**files))
    with _timed(photos) as seconds, predict.Job(photos, out, settings) as job:
        job.run(localizer, (), batch, calls)
    if job.localized != len(photos):
        raise SystemExit(f"{len(photos) - job.localized} photos failed")
    return seconds


@contextlib.contextmanager
def _timed(photos: list[Path]) -> Iterator[np.ndarray]:
    """Give the seconds for a photo, by the clock and of processors; filled when the block ends."""
    seconds = np.array([time.perf_counter(), time.process_time()])
    yield seconds
    seconds[:] = ([time.perf_counter(), time.process_time()] - seconds) / len(photos)


def _process() -> Executor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def main() -> None:
    """Print the table."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # Each has threads of its own in TensorFlow, as it starts with them or as the command does.
        bare, ours = (stack.enter_context(_process()) for _ in range(2))
        outs = (folder / f"out-{n}" for n in itertools.count())

        def run(name: str, photos: list[Path]) -> np.ndarray:
            options = (_MODEL.value, _BATCH.value, photos, next(outs))
            if name == _BARE:
                return bare.submit(_bare, *options).result()
            return ours.submit(_localize, *options, **_WAYS[name]).result()

        tiles = _tiles()
        for (size, pixels), count in zip(_SIZES.items(), map(int, _PHOTOS.value), strict=True):
            (folder / size).mkdir()
            _write_photos(folder / size, pixels, count, tiles)
            photos = sorted((folder / size).iterdir())
            names = (_BARE, *_WAYS)
            for name in names:
                run(name, photos[: _BATCH.value])  # traces the graph
            parts = [list(part) for part in np.array_split(np.array(photos), _ROUNDS.value)]
            rounds = [[run(name, part) for name in names] for part in parts]
            found = dict(zip(names, np.moveaxis(np.array(rounds), 1, 0), strict=True))
            rows = []
            for name, seconds in found.items():
                ratios = found[_BARE] / seconds
                ratio, processors = np.median(ratios, axis=0)
                spread = f"{ratios[:, 0].min():.2f}-{ratios[:, 0].max():.2f}"
                clock, used = np.median(seconds, axis=0)
                row = f"{1 / clock:.1f}", f"{ratio:.2f}", spread, f"{processors:.2f}"
                rows.append((name, *row, f"{1000 * used:.1f}"))
            title = f"{count} photos of {size}, {_MODEL.value}, batches of {_BATCH.value}"
            print_table(f"{title}, {os.cpu_count()} cores", _COLUMNS, rows)


if __name__ == "__main__":
    start(main)
