"""Starts a command under a fault, again until it is done, and compares what it leaves.

A command is a function that runs in a forked process, so that TensorFlow is imported once. What it
changes is below one folder, whose path is the same each time.
"""

import contextlib
import faulthandler
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.faults.contents import contents, damaged, differences, hidden
from tests.faults.shim import Fault, Shim

Command = Callable[[Path], int | None]
Finished = Callable[[Path], Mapping[str, object]]
EXISTS = "exists; give a"  # new folder, or another name
PATIENCE = 120  # seconds in which a process that goes on must have worked
MOST = 600  # seconds of processor time for one start
_WORK = 0.05  # seconds of processor time; threads that only wait also wake up


class Scenario(NamedTuple):
    """A command that can be stopped.

    Attributes:
        run: the command, given the folder to write to. Returns its exit status, None for 0.
        finished: names what was finished, and how to tell that it was not made again.
        shared: whether a second process works beside the first, or waits, and is not refused.
        once: whether it makes something new, and is refused where that is there.
    """

    run: Command
    finished: Finished
    shared: bool = False
    once: bool = False


class Ended(NamedTuple):
    """How a start ended: exit status (negative for a signal), what it said, processor time."""

    status: int
    said: str
    seconds: float
    calls: int


class FaultError(AssertionError):
    """Something was lost, half or different, or a message does not say why."""


class Engine:
    """One scenario in one folder.

    Args:
        scenario: what is run.
        work: a folder for what it writes, which is removed between rounds.
        inputs: what it reads.

    Attributes:
        whole: how the undisturbed run ended.
    """

    def __init__(self, scenario: Scenario, work: Path, inputs: Path) -> None:
        self.scenario, self.inputs = scenario, inputs
        self.out, self._said = work / "out", work / "said"
        self._shim = Shim()
        self.afresh()
        self.whole = self.end(self.start())
        self.check(self.whole.status == 0, "the undisturbed run failed", self.whole)
        self._wanted = contents(self.out)

    def afresh(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)

    def start(self, fault: Fault = Fault(), under: Path | None = None) -> int:  # noqa: B008
        """Fork a process that runs the command, and return its id."""
        process = os.fork()
        if process:
            with contextlib.suppress(OSError):  # it may have done so, or be gone
                os.setpgid(process, process)
            return process
        status = 70
        try:
            os.setpgid(0, 0)
            said = os.open(f"{self._said}-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 1)
            os.dup2(said, 2)
            faulthandler.register(signal.SIGUSR1, file=2)
            self._shim.arm(under or self.out, fault)
            status = self.scenario.run(self.out) or 0
        except BaseException:  # noqa: BLE001 - it must not go on as the parent
            traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def end(self, process: int, beside: int | None = None) -> Ended:
        """Wait for a process, which may wait for one beside it; raise if it is stuck.

        That is told by processor time: on a busy machine anything takes long.
        """
        watched = [process] if beside is None else [process, beside]
        used, since = 0.0, time.monotonic()
        while not (found := os.wait4(process, os.WNOHANG))[0]:
            now = sum(_worked(each) for each in watched)
            if now > used + _WORK:
                used, since = now, time.monotonic()
            if time.monotonic() > since + PATIENCE or now > MOST:
                self._stuck(watched, f"it is stuck after {now:.1f} seconds of processor time")
            time.sleep(0.03)
        said = self._take_said(process)
        took = found[2].ru_utime + found[2].ru_stime
        return Ended(os.waitstatus_to_exitcode(found[1]), said, took, self._shim.taken())

    def let(self, process: int, seconds: float) -> None:
        """Let a process work for so many seconds of processor time, or until it ends."""
        since = time.monotonic()
        while not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if _worked(process) >= seconds or time.monotonic() > since + PATIENCE:
                break
            time.sleep(0.03)

    def _stuck(self, processes: list[int], what: str) -> None:
        """Have each process say where it is, end it, and raise."""
        for process in processes:
            os.kill(process, signal.SIGUSR1)
        time.sleep(3)
        said = []
        for process in processes:
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            said.append(self._take_said(process))
        self.check(False, what, Ended(-9, "\n".join(said), 0, self._shim.taken()))

    def _take_said(self, process: int) -> str:
        file = Path(f"{self._said}-{process}")
        said = file.read_text("utf-8", "replace") if file.exists() else ""
        file.unlink(missing_ok=True)
        return said

    def disturbed(self, fault: Fault) -> Ended:
        """Run once under a fault; check that nothing is half, and nothing lost that was there."""
        before = self.finished()
        ended = self.end(self.start(fault))
        self.check_left(before, ended)
        return ended

    def completed(self, fault: Fault = Fault(), under: Path | None = None) -> None:  # noqa: B008
        """Run to the end; check that the result is that of the undisturbed run."""
        before = self.finished()
        ended = self.end(self.start(fault, under))
        refused = self.scenario.once and ended.status > 0 and EXISTS in ended.said
        self.check(refused or ended.status == 0, "it does not go on", ended)
        self.check_left(before, ended)
        self.check_result(ended)

    def check_result(self, ended: Ended) -> None:
        """Raise unless the folder holds the undisturbed result and no remains."""
        different = differences(self._wanted, contents(self.out))
        self.check(not different, f"the result differs: {different[:5]}", ended)
        self.check(not hidden(self.out), f"remains: {hidden(self.out)[:5]}", ended)

    def check_left(self, before: Mapping[str, object], ended: Ended) -> None:
        """Raise if a visible file is half, or what was finished is gone or was made again."""
        half = damaged(self.out)
        self.check(not half, f"not whole: {half[:5]}", ended)
        after = self.finished()
        lost = [name for name, mark in before.items() if after.get(name) != mark]
        self.check(not lost, f"lost or made again: {lost[:5]}", ended)

    def finished(self) -> Mapping[str, object]:
        """What the scenario has finished."""
        return self.scenario.finished(self.out)

    def check_message(self, ended: Ended, *causes: str) -> None:
        """Raise unless a failure says its cause in a sentence."""
        self.check(ended.status > 0, f"it should have failed: {causes[0]}", ended)
        self.check(any(cause in ended.said for cause in causes), f"does not say: {causes}", ended)
        self.check("Traceback" not in ended.said, "a traceback instead of a message", ended)

    def check(self, good: bool, what: str, ended: Ended | None = None) -> None:
        """Raise with what was said."""
        if not good:
            end = f"\nexit status {ended.status}; it said:\n{ended.said[-4000:]}" if ended else ""
            raise FaultError(f"{what}{end}")


def _worked(process: int) -> float:
    """Return the processor time of a process that was not waited for yet, in seconds."""
    words = Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
