"""Measures `fcam localize` against the bare forward pass of its model, in turn in one run.

    python tools/bench_localize.py --data ../shared/data/pets3

The photos are mosaics of the photos below --data, or of scikit-image's, as JPEG files of one and of
twelve megapixels in a temporary folder: fifty different ones, each under several names. The
bare pass runs the same model on as many batches of the same size, which are in memory already. On a
machine that is not idle, the ratio of the processors' time says more than that of the clock.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from common import print_table, start
from PIL import Image
from skimage import data

from fcam_tf.photos import SUFFIXES

_DATA = flags.DEFINE_string("data", None, "folder of photos, searched recursively")
_MODEL = flags.DEFINE_string("model", "efficientnetlite_b0_layercam", "of the zoo")
_PHOTOS = flags.DEFINE_list("photos", ["1000", "150"], "how many of one and of twelve megapixels")
_BATCH = flags.DEFINE_integer("batch", 8, "photos for one call of the model", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "which the photos are divided among", lower_bound=1)

_SIZES = {"1 MP": (1152, 864), "12 MP": (4000, 3000)}  # width and height
_DIFFERENT = 50
_BARE = "bare forward pass"
_COLUMNS = ("", "images/s", "of the bare pass", "in rounds", "by processor time")
_WAYS: dict[str, dict[str, Any]] = {
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


def _rounds(
    calls: dict[str, Callable[[list[Path]], Any]], photos: list[Path]
) -> dict[str, np.ndarray]:
    """Return the seconds for a photo of each call in each round, by the clock and of processors."""
    found: dict[str, list[list[float]]] = {name: [] for name in calls}
    for part in np.array_split(np.array(photos), _ROUNDS.value):
        for name, call in calls.items():
            begin = np.array([time.perf_counter(), time.process_time()])
            call(list(part))
            end = np.array([time.perf_counter(), time.process_time()])
            found[name].append((end - begin) / len(part))
    return {name: np.array(values) for name, values in found.items()}


def main() -> None:
    """Print the table."""
    from fcam_tf import predict, zoo  # noqa: PLC0415 - after the flags were read

    model = zoo.load(_MODEL.value)
    localizer, tiles = predict.Localizer(model), _tiles()
    images = np.zeros((_BATCH.value, *localizer.image_size, 3), np.uint8)
    images += np.arange(3, dtype=np.uint8)

    def bare(photos: list[Path]) -> None:
        for _ in range(0, len(photos), _BATCH.value):
            model.predict_on_batch(images)

    with tempfile.TemporaryDirectory() as place:
        folder, numbers = Path(place), itertools.count()

        def localize(photos: list[Path], **files: Any) -> None:
            out = folder / f"out-{next(numbers)}"
            job = predict.localize_files(localizer, photos, out, batch_size=_BATCH.value, **files)
            if job.localized != len(photos):
                raise SystemExit(f"{len(photos) - job.localized} photos failed")

        calls: dict[str, Any] = {_BARE: bare}
        for name, files in _WAYS.items():
            calls[name] = lambda photos, files=files: localize(photos, **files)
        for (size, pixels), count in zip(_SIZES.items(), map(int, _PHOTOS.value), strict=True):
            (folder / size).mkdir()
            _write_photos(folder / size, pixels, count, tiles)
            photos = sorted((folder / size).iterdir())
            for call in calls.values():
                call(photos[: _BATCH.value])  # traces the graph
            found = _rounds(calls, photos)
            rows = []
            for name, seconds in found.items():
                ratios = found[_BARE] / seconds
                ratio, processors = np.median(ratios, axis=0)
                spread = f"{ratios[:, 0].min():.2f}-{ratios[:, 0].max():.2f}"
                rate = f"{1 / np.median(seconds[:, 0]):.1f}"
                rows.append((name, rate, f"{ratio:.2f}", spread, f"{processors:.2f}"))
            title = f"{count} photos of {size}, {_MODEL.value}, batches of {_BATCH.value}"
            print_table(f"{title}, {os.cpu_count()} cores", _COLUMNS, rows)


if __name__ == "__main__":
    start(main)
