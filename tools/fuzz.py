"""Give hostile input to all that reads any: what `make fuzz` runs.

Each target (fuzz_files.py, fuzz_models.py, fuzz_calls.py) runs in a process of its own, guided by
atheris, which mutates seeds by what code they reach. A case must work, or be refused by an error of
the kinds that its target names; within ten seconds and `_MEMORY_MB`; and write below its own folder
alone. What does not is kept in OUT/TARGET, the input and its traceback, and makes the status 1. Of
a process that ended, the last inputs are kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from absl import app, flags
from common import print_table
from fuzz_engine import keep_last

_MINUTES = flags.DEFINE_float("minutes", 10, "time for all targets together", lower_bound=0.1)
_OUT = flags.DEFINE_string("out", "fuzz-output", "folder for corpora and faults")
_TARGETS = flags.DEFINE_list("targets", [], "which ones, with commas; all if empty")

_SECONDS = 10  # of one case
_MEMORY_MB = 3000  # of a process, TensorFlow among it
_PATIENCE = 300  # seconds beyond its time, in which a process must have started and ended
_STARTS = 20  # of one target, each ended by a fault that ends the process
NAMES = {  # by the module that has them
    "fuzz_files": (
        *("photo", "metadata", "folders", "card", "archive", "members", "results", "torch"),
        *("claimed", "npy"),
    ),
    "fuzz_models": ("recipe", "setting", "weights", "old_weights", "evaluation", "run", "op"),
    "fuzz_calls": ("arguments", "request"),
}


def main(argv: list[str]) -> None:
    """Run the targets one after the other, and print what each came to."""
    del argv
    out = Path(_OUT.value).resolve()
    known = {name: module for module, names in NAMES.items() for name in names}
    wanted = _TARGETS.value or list(known)
    if unknown := sorted(set(wanted) - known.keys()):
        raise app.UsageError(f"no such targets: {unknown}. Available: {', '.join(known)}")
    rows, faults = [], 0
    for name in wanted:
        found = _hunt(known[name], name, out, 60 * _MINUTES.value / len(wanted))
        faults += len(found["faults"])
        rows.append(
            [name]
            + [f"{found[key]}" for key in ("cases", "worked", "refused")]
            + [f"{found['cases'] / max(found['seconds'], 1e-9):.0f}"]
            + [f"{found['slowest']:.2f}", f"{len(found['faults'])}"]
        )
    columns = ("target", "cases", "worked", "refused", "a second", "slowest (s)", "faults")
    print_table("Hostile input", columns, rows)
    sys.exit(bool(faults))


def _hunt(module: str, name: str, out: Path, seconds: float) -> dict:
    """Run a target until its time is over; return its counts, added up over its processes."""
    folder = out / name
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    total = {"cases": 0, "worked": 0, "refused": 0, "seconds": 0.0, "slowest": 0.0, "faults": []}
    end = time.monotonic() + seconds
    for start in range(_STARTS):
        rest = end - time.monotonic()
        if start and rest < 1:
            break
        counts = folder / "counts.json"
        counts.unlink(missing_ok=True)
        shutil.rmtree(folder / "last", ignore_errors=True)
        command = [
            *(sys.executable, str(Path(__file__).with_name("fuzz_engine.py"))),
            *(module, name, str(folder)),
            f"-max_total_time={max(1, int(rest))}",
            *(f"-timeout={_SECONDS}", f"-rss_limit_mb={_MEMORY_MB}", "-max_len=32768"),
            f"-artifact_prefix={folder}/",
        ]
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        # A process whose heap a case has broken may wait for itself when it is to end.
        status: int | str = f"stuck after {_PATIENCE} seconds"
        with (folder / "log").open("ab") as log, contextlib.suppress(subprocess.TimeoutExpired):
            status = subprocess.run(  # noqa: S603 - our own
                command,
                check=False,
                stdout=log,
                stderr=log,
                env=environment,
                timeout=max(1, rest) + _PATIENCE,
            ).returncode
        found = json.loads(counts.read_text("utf-8")) if counts.exists() else {}
        for key in ("cases", "worked", "refused", "seconds"):
            total[key] += found.get(key, 0)
        total["slowest"] = max(total["slowest"], found.get("slowest", 0))
        total["faults"] += [f for f in found.get("faults", []) if f not in total["faults"]]
        if status == 0:
            break
        kept = keep_last(folder)
        inputs = f", its last inputs in {kept.name}" if kept else ""
        total["faults"].append(f"process {start} ended with status {status}{inputs}")
    for fault in total["faults"]:
        print(f"{name}: {fault}; see {folder}")
    return total


if __name__ == "__main__":
    app.run(main)
