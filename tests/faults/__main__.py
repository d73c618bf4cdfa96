"""Disturbs every command at random moments: python -m tests.faults [--kills 50] [--others 5].

Prints a table of how often each was disturbed in each way. Exit status 1 if anything was lost, half
or different, or a message does not name its cause; that is told with the draw's seed.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.shim import compiler, under_shim


def main() -> int:
    """Start the same module again with the shim loaded, which does the work."""
    parser = argparse.ArgumentParser("python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=5, help="for each scenario")
    parser.add_argument("--others", type=int, default=1, help="of each other fault")
    parser.add_argument("--scenario", action="append", help="default: all")
    parser.add_argument("--fault", action="append", help="default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    values = parser.parse_args()
    if values.folder:
        return disturb(values)
    if not compiler():
        sys.exit("a C compiler is needed: cc, gcc or $CC")
    folder = Path(tempfile.mkdtemp())
    try:
        return under_shim("tests.faults", [*sys.argv[1:], "--folder", str(folder)], folder).wait()
    finally:
        shutil.rmtree(folder)


def disturb(values: argparse.Namespace) -> int:
    """Do to each scenario what each fault does."""
    from tests.faults import scenarios  # noqa: PLC0415 - TensorFlow, once, under the shim
    from tests.faults.engine import Engine, FaultError  # noqa: PLC0415
    from tests.faults.faults import FAULTS  # noqa: PLC0415

    scenarios.prepare()
    inputs = values.folder / "inputs"
    inputs.mkdir()
    if not (writer := os.fork()):
        scenarios.write_inputs(inputs)  # in a process of its own: TensorFlow must not start here
        os._exit(0)
    if os.waitpid(writer, 0)[1]:
        sys.exit("the inputs could not be written")
    chosen = scenarios.scenarios(inputs)
    columns, wrong = values.fault or list(FAULTS), 0
    _tell("scenario", *columns, "seconds")
    for name in values.scenario or chosen:
        began, cells = time.monotonic(), []
        try:
            engine = Engine(chosen[name], values.folder / name.replace(" ", "-"), inputs)
        except FaultError as error:
            sys.stderr.write(f"{name}: {error}\n\n")
            wrong += 1
            continue
        for column in columns:
            times = values.kills if column == "killed" else values.others
            draw = random.Random(f"{values.seed} {name} {column}")  # noqa: S311 - moments
            try:
                cells.append(str(FAULTS[column](engine, draw, times)))
            except FaultError as error:
                sys.stderr.write(f"{name}, {column}, --seed {values.seed}: {error}\n\n")
                cells.append("WRONG")
                wrong += 1
        _tell(name, *cells, f"{time.monotonic() - began:.0f}")
    return 1 if wrong else 0


def _tell(*cells: str) -> None:
    """Write a row of the table as Markdown, at once: it takes long to the next."""
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
