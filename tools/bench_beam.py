"""Photos a second of `fcam localize --runner beam` with one and two workers of Beam's local runner.

    python tools/bench_beam.py FOLDER_OF_PHOTOS [--number 5000] [--few 100]

Photos are made of those in the folder, made small. A run with few photos tells what starting costs,
so that the rate is that of the photos alone. On a busy machine look at processor time: wall time is
that of whatever else runs.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

_SIZE = (160, 120)
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


def main() -> None:
    """Make photos, localise them in four jobs and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--number", type=int, default=5000)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--flags", default="--model efficientnetlite_b0 --method cam")
    values = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        many = _photos(values.photos, Path(folder) / "many", values.number)
        few = _photos(values.photos, Path(folder) / "few", values.few)
        print("workers  photos    wall s  processor s  largest process MB")
        for workers in values.workers:
            took = []
            for number, photos in ((values.few, few), (values.number, many)):
                out = Path(folder) / f"out-{workers}-{number}"
                wall, processor = _run(photos, out, workers, values.flags.split())
                largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
                print(
                    f"{workers:7} {number:7} {wall:9.1f} {processor:12.1f} {largest:19.0f}",
                    flush=True,
                )
                took.append((wall, processor))
            more = values.number - values.few
            (few_wall, few_processor), (wall, processor) = took
            print(
                f"{workers} workers: {more / (wall - few_wall):.1f} photos a second, "
                f"{more / (processor - few_processor):.1f} a second of a processor",
                flush=True,
            )


def _photos(source: Path, folder: Path, number: int) -> Path:
    folder.mkdir()
    paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in {".jpg", ".png"})
    for index in range(number):
        with Image.open(paths[index % len(paths)]) as image:
            image.draft("RGB", _SIZE)
            small = image.convert("RGB").resize(_SIZE)
        small.save(folder / f"{index:06}.jpg", quality=90)
    return folder


def _run(photos: Path, out: Path, workers: int, flags: list[str]) -> tuple[float, float]:
    """Return wall and processor seconds of a job, with its workers."""
    options = (f"direct_num_workers={workers}", "direct_running_mode=multi_processing")
    command = [sys.executable, "-m", "fcam_tf", "localize", str(photos), "--runner", "beam"]
    command += [f"--beam-option={option}" for option in options]
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(  # noqa: S603 - our own command
        [*command, "--out", str(out), *flags],
        check=True,
        env={**os.environ, **_ONE_THREAD},
        stderr=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, processor


if __name__ == "__main__":
    main()
