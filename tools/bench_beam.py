"""Photos a second of `fcam localize --runner beam` with one and two workers of Beam's local runner.

    python tools/bench_beam.py FOLDER_OF_PHOTOS [--number 5000] [--few 100]

Photos are made of those in the folder, made small. A run with few photos tells what starting costs,
so that the rate is that of the photos alone. On a busy machine look at processor time: wall time is
that of whatever else runs. Printed are the two tables of docs/scale.md, the second an estimate.
"""

import argparse
import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

_SIZE = (160, 120)
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
_LARGE = {"ImageNet, train": 1_281_167, "OpenImages, all with boxes (about)": 1_900_000}
_CORES = 16
_MAP = 224 * 224 * 2  # bytes
_EVERY = 0.5  # seconds between looks at the memory


@dataclasses.dataclass(frozen=True)
class Took:
    """What a job took with all its processes: seconds, and bytes at most."""

    wall: float
    processor: float
    largest: int  # process
    together: int  # memory that processes share counts once


def main() -> None:
    """Make photos, localise them in jobs of few and of many, and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--number", type=int, default=5000)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--flags", default="--model efficientnetlite_b0 --method cam")
    values = parser.parse_args()
    jobs: dict[int, list[Took]] = {}
    with tempfile.TemporaryDirectory() as folder:
        photos = [
            _photos(values.photos, Path(folder) / f"{number}", number)
            for number in (values.few, values.number)
        ]
        for workers in values.workers:
            for each in photos:
                out = Path(folder) / f"out-{workers}-{each.name}"
                took = _run(each, out, workers, values.flags.split())
                jobs.setdefault(workers, []).append(took)
                sys.stderr.write(f"{workers} workers, {each.name} photos: {took}\n")
    print("\n".join(tables({w: (few, many) for w, (few, many) in jobs.items()}, values)))


def tables(jobs: dict[int, tuple[Took, Took]], values: argparse.Namespace) -> list[str]:
    """Return the lines of both tables.

    Args:
        jobs: by the number of workers, what ``values.few`` and ``values.number`` photos took.
        values: the command line.
    """
    more = values.number - values.few
    rates = {w: more / (many.wall - few.wall) for w, (few, many) in jobs.items()}
    each = {w: more / (many.processor - few.processor) for w, (few, many) in jobs.items()}
    one = min(jobs)
    lines = _row(
        *("workers", "photos a second", "efficiency", "photos a second of a processor"),
        *("starting, seconds of a processor", "largest process", "all processes"),
    )
    lines += _row(*["---"] * 7)
    for workers, (few, many) in jobs.items():
        efficiency = rates[workers] / rates[one] * one / workers
        lines += _row(
            workers,
            f"{rates[workers]:.1f}",
            f"{efficiency:.0%}" if workers != one else "",
            f"{each[workers]:.1f}",
            f"{few.processor - values.few / each[workers]:.0f}",
            f"{many.largest / 1e9:.1f} GB",
            f"{many.together / 1e9:.1f} GB",
        )
    most = max(jobs)
    kept = f"{_CORES} cores"
    lines += ["", *_row("", "photos", "hours of a core", kept, "maps, before compression")]
    lines += _row(*["---"] * 5)
    for name, number in _LARGE.items():
        hours = number / each[most] / 3600
        minutes, size = hours * 60 / _CORES, number * _MAP / 1e9
        lines += _row(name, number, f"{hours:.1f}", f"{minutes:.0f} minutes", f"{size:.0f} GB")
    return lines


def _row(*cells: object) -> list[str]:
    return [f"| {' | '.join(map(str, cells))} |"]


def _photos(source: Path, folder: Path, number: int) -> Path:
    folder.mkdir()
    paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in {".jpg", ".png"})
    for index in range(number):
        with Image.open(paths[index % len(paths)]) as image:
            image.draft("RGB", _SIZE)
            small = image.convert("RGB").resize(_SIZE)
        small.save(folder / f"{index:06}.jpg", quality=90)
    return folder


def _run(photos: Path, out: Path, workers: int, flags: list[str]) -> Took:
    """Localise photos, and return what it took."""
    options = (f"direct_num_workers={workers}", "direct_running_mode=multi_processing")
    command = [sys.executable, "-m", "fcam_tf", "localize", str(photos), "--runner", "beam"]
    command += [f"--beam-option={option}" for option in options]
    return measured([*command, "--out", str(out), *flags])


def measured(command: Sequence[str]) -> Took:
    """Run a command to its end and return what it took; SystemExit where it fails."""
    began, together = time.perf_counter(), 0
    job = subprocess.Popen(  # noqa: S603 - our own command
        command, env={**os.environ, **_ONE_THREAD}, stderr=subprocess.DEVNULL
    )
    while not (ended := os.wait4(job.pid, os.WNOHANG))[0]:
        together = max(together, sum(map(_memory, _tree(job.pid))))
        time.sleep(_EVERY)
    wall, (_, status, used) = time.perf_counter() - began, ended
    job.returncode = os.waitstatus_to_exitcode(status)  # else it warns of a process that is left
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return Took(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, together)


def _tree(process: int) -> list[int]:
    """Return a process and all below it."""
    parents = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            parents[int(file.parent.name)] = int(file.read_text().rpartition(")")[2].split()[1])
    found = [process]
    for each in found:  # which grows
        found += [child for child, parent in parents.items() if parent == each]
    return found


def _memory(process: int) -> int:
    """Return the bytes of a process, a page that n share counted as one n-th."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()
