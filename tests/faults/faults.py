"""The faults: what is done to a scenario in one round, and what must hold afterwards."""

import random
from collections.abc import Callable

from tests.faults.engine import EXISTS, Engine, FaultError
from tests.faults.shim import Fault

_MOST = 8  # kills of one round, before it may end
_FULL = ("No space left on device", "disk is full")
_READ_ONLY = ("Read-only file system", "must be one that can be written to")
_BUSY = ("another process is writing to", EXISTS)


def killed(engine: Engine, draw: random.Random, times: int) -> int:
    """Kill it at random moments, start it again until it is done; return how often it was.

    Half of the moments are drawn among the calls that write, and of these half in the middle of
    what a call writes; the others are drawn in processor time. Early ones are drawn more often:
    what goes on after a kill is as long as what is left, and is to be killed again.
    """
    done = 0
    for _ in range(min(times, draw.randint(1, _MOST))):
        kind = draw.choice(["kill", "half", "time", "time"])
        share = draw.random() ** 2
        moment = 1 + int(share * engine.whole.calls)
        timed = Fault(seconds=share * engine.whole.seconds)
        ended = engine.disturbed(timed if kind == "time" else Fault(kind, moment))
        if ended.status == 0:  # it was done before its moment came
            engine.check_result(ended)
            return done
        engine.check(ended.status == -9, "it failed before it was killed", ended)
        done += 1
    engine.completed()
    return done


def full_disk(engine: Engine, draw: random.Random, _: int) -> int:
    """Let the disk be full from a random write on; with space again it goes on."""
    ended = engine.disturbed(Fault("full", draw.randint(1, engine.whole.calls)))
    if ended.status == 0:  # what was not written is nothing that anybody needs
        engine.check_result(ended)
    else:
        engine.check_message(ended, *_FULL)
        engine.completed()
    return 1


def read_only(engine: Engine, _: random.Random, __: int) -> int:
    """Let the folder be read-only: it says so. Then let all that it reads be: it works."""
    engine.check_message(engine.disturbed(Fault("read-only")), *_READ_ONLY)
    engine.completed(Fault("read-only"), engine.inputs)
    return 2


def without_locks(engine: Engine, _: random.Random, __: int) -> int:
    """Have no locks: it works alone."""
    engine.completed(Fault(lockless=True))
    return 1


def jumping_clock(engine: Engine, draw: random.Random, _: int) -> int:
    """Let the clock jump by days, ahead or back: nothing depends on it."""
    looks = int(10 ** draw.uniform(0, 4))
    engine.completed(Fault(clock=draw.choice([looks, -looks])))
    return 1


def two_at_once(engine: Engine, draw: random.Random, _: int) -> int:
    """Start two in one folder: each ends well or says that it is not alone, and nothing is lost.

    Half of the time they start together, else the second somewhere in the work of the first.
    """
    first = engine.start()
    if draw.random() < 0.5:
        engine.let(first, draw.uniform(0, engine.whole.seconds))
    second = engine.start()
    for process, beside in ((first, second), (second, None)):
        ended = engine.end(process, beside)
        if ended.status:
            engine.check(not engine.scenario.shared, "it fails", ended)
            engine.check_message(ended, *_BUSY)
    engine.completed()
    return 1


FAULTS: dict[str, Callable[[Engine, random.Random, int], int]] = {
    "killed": killed,
    "full disk": full_disk,
    "read-only": read_only,
    "no locks": without_locks,
    "clock": jumping_clock,
    "two": two_at_once,
}

__all__ = ["FAULTS", "FaultError"]
