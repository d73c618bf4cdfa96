"""Disturbs every command at random moments: python -m tests.faults [--kills 50] [--others 5].

Prints a table of how often each was disturbed in each way. Exit status 1 if anything was lost, half
or different, or a message does not name its cause; that is told with the draw's seed. With --log
several sittings add up: each goes on with what was tried least.
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
    parser.add_argument("--seed", type=int, help="default: how many rounds the log has")
    parser.add_argument("--log", type=Path, help="where counts are kept, and go on from")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="of this sitting")
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
    from tests.faults.counts import Counts  # noqa: PLC0415
    from tests.faults.engine import Engine, FaultError  # noqa: PLC0415
    from tests.faults.faults import FAULTS  # noqa: PLC0415

    began = time.monotonic()
    end = began + 60 * values.minutes
    scenarios.prepare()
    inputs = values.folder / "inputs"
    inputs.mkdir()
    if not (writer := os.fork()):
        scenarios.write_inputs(inputs)  # in a process of its own: TensorFlow must not start here
        os._exit(0)
    if os.waitpid(writer, 0)[1]:
        sys.exit("the inputs could not be written")
    chosen, counts = scenarios.scenarios(inputs), Counts(values.log)
    seed = counts.rounds if values.seed is None else values.seed
    columns, wrong = values.fault or list(FAULTS), 0
    for name in sorted(values.scenario or chosen, key=counts.of):
        goals = {each: values.kills if each == "killed" else values.others for each in columns}
        if all(counts.of(name, each) >= goal for each, goal in goals.items()):
            continue
        try:
            engine = Engine(chosen[name], values.folder / name.replace(" ", "-"), inputs)
        except FaultError as error:
            sys.stderr.write(f"{name}: {error}\n\n")
            wrong += 1
            continue
        _tell(f"{name} takes {engine.whole.seconds:.1f} seconds of processor time", began)
        for column, goal in goals.items():
            draw = random.Random(f"{seed} {name} {column}")  # noqa: S311 - moments
            while (missing := goal - counts.of(name, column)) > 0 and time.monotonic() < end:
                engine.afresh()
                try:
                    counts.add(name, column, FAULTS[column](engine, draw, missing))
                except FaultError as error:
                    sys.stderr.write(f"{name}, {column}, --seed {seed}: {error}\n\n")
                    wrong += 1
                    break
                _tell(f"{name}, {column}: {counts.of(name, column)} of {goal}", began)
    sys.stdout.write(counts.table(chosen, FAULTS))
    return 1 if wrong else 0


def _tell(what: str, began: float) -> None:
    """Say at once how far it is: it takes long to the next."""
    sys.stderr.write(f"{(time.monotonic() - began) / 60:.1f} min: {what}\n")


if __name__ == "__main__":
    sys.exit(main())
