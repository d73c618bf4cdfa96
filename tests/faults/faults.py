"""The faults: what is done to a scenario, and what must hold afterwards."""

import random
from collections.abc import Callable

from tests.faults.engine import Engine, FaultError
from tests.faults.shim import Fault

_MOST = 3  # kills of one round, before it may end
_FULL = ("No space left on device", "disk is full")
_READ_ONLY = ("Read-only file system",)
_BUSY = ("another process is writing to", "exists; give a new folder or remove it")


def killed(engine: Engine, draw: random.Random, kills: int) -> int:
    """Kill it at random moments, start it again until it is done; return how often it was.

    Half of the moments are drawn among the calls that write, and of these half in the middle of
    what a call writes; the others are drawn in time.
    """
    done = 0
    while done < kills:
        engine.afresh()
        for _ in range(min(kills - done, draw.randint(1, _MOST))):
            kind = draw.choice(["kill", "half", "time", "time"])
            moment = draw.randint(1, engine.whole.calls)
            seconds = draw.uniform(0, engine.whole.seconds)
            fault = Fault(seconds=seconds) if kind == "time" else Fault(kind, moment)
            ended = engine.disturbed(fault)
            if ended.status == 0:  # it was done before its moment came
                break
            engine.check(ended.status == -9, "it failed before it was killed", ended)
            done += 1
        engine.completed()
    return done


def full_disk(engine: Engine, draw: random.Random, times: int) -> int:
    """Let the disk be full from a random write on; with space again it goes on."""
    for _ in range(times):
        engine.afresh()
        ended = engine.disturbed(Fault("full", draw.randint(1, engine.whole.calls)))
        if ended.status == 0:  # what was not written is nothing that anybody needs
            engine.check_result(ended)
        else:
            engine.check_message(ended, *_FULL)
            engine.completed()
    return times


def read_only(engine: Engine, _: random.Random, times: int) -> int:
    """Let the folder be read-only: it says so. Let all that it reads be: it does not notice."""
    for _ in range(times):
        engine.afresh()
        engine.check_message(engine.disturbed(Fault("read-only")), *_READ_ONLY)
        engine.completed()
    engine.afresh()
    ended = engine.end(engine.start(Fault("read-only"), engine.inputs))
    engine.check(ended.status == 0, "it writes beside its inputs", ended)
    engine.check_result(ended)
    return times + 1


def without_locks(engine: Engine, _: random.Random, times: int) -> int:
    """Have no locks: it works alone, and after a kill."""
    return _undisturbed(engine, Fault(lockless=True), times)


def jumping_clock(engine: Engine, draw: random.Random, times: int) -> int:
    """Let the clock jump by days, ahead or back: nothing depends on it."""
    for _ in range(times):
        looks = int(10 ** draw.uniform(0, 4))
        _undisturbed(engine, Fault(clock=draw.choice([looks, -looks])), 1)
    return times


def _undisturbed(engine: Engine, fault: Fault, times: int) -> int:
    for _ in range(times):
        engine.afresh()
        ended = engine.end(engine.start(fault))
        engine.check(ended.status == 0, "it fails", ended)
        engine.check_result(ended)
    return times


def two_at_once(engine: Engine, draw: random.Random, times: int) -> int:
    """Start two in one folder: each ends well or says that it is not alone, and nothing is lost."""
    for _ in range(times):
        engine.afresh()
        first = engine.start()
        second = engine.start(Fault(seconds=draw.uniform(0, 1)))
        for process in (first, second):
            ended = engine.end(process)
            if ended.status or engine.scenario.shared:
                engine.check(not engine.scenario.shared or not ended.status, "it fails", ended)
            if ended.status:
                engine.check_message(ended, *_BUSY)
        engine.completed()
    return times


FAULTS: dict[str, Callable[[Engine, random.Random, int], int]] = {
    "killed": killed,
    "full disk": full_disk,
    "read-only": read_only,
    "no locks": without_locks,
    "clock": jumping_clock,
    "two": two_at_once,
}

__all__ = ["FAULTS", "FaultError"]
