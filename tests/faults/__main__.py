"""Disturbs every command at random moments: python -m tests.faults [--kills 50] [--others 5].

Prints a table of how often each was disturbed in each way. Exit status 1 if anything was lost, half
or different, or a message does not name its cause; that is told with the draw's seed. With --log
several sittings add up. What was tried least comes first.
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
    goals = {
        (name, fault): values.kills if fault == "killed" else values.others
        for fault in values.fault or FAULTS
        for name in values.scenario or chosen
    }
    engines: dict[str, Engine] = {}
    draws = {pair: random.Random(f"{seed} {pair}") for pair in goals}  # noqa: S311 - moments
    wrong = 0
    while time.monotonic() < end:
        goals = {pair: goal for pair, goal in goals.items() if counts.of(*pair) < goal}
        if not goals:
            break
        pair = min(goals, key=lambda pair: counts.of(*pair) / goals[pair])  # the least tried
        goal, (name, fault) = goals[pair], pair
        try:
            if name not in engines:
                place = values.folder / name.replace(" ", "-")
                engine = engines[name] = Engine(chosen[name], place, inputs)
                _tell(f"{name} takes {engine.whole.seconds:.1f} s of processor time", began)
            engines[name].afresh()
            times = FAULTS[fault](engines[name], draws[pair], goal - counts.of(*pair))
        except FaultError as error:
            sys.stderr.write(f"{name}, {fault}, --seed {seed}: {error}\n\n")
            wrong += 1
            # Without an undisturbed run there is nothing to compare with.
            goals = {
                p: g for p, g in goals.items() if p != pair and (p[0] in engines or p[0] != name)
            }
            continue
        counts.add(name, fault, times)
        _tell(f"{name}, {fault}: {counts.of(*pair)} of {goal}", began)
    sys.stdout.write(counts.table(chosen, FAULTS))
    return 1 if wrong else 0


def _tell(what: str, began: float) -> None:
    """Say at once how far it is: it takes long to the next."""
    sys.stderr.write(f"{(time.monotonic() - began) / 60:.1f} min: {what}\n")


if __name__ == "__main__":
    sys.exit(main())
