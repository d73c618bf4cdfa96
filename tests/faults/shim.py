"""The C shim that brings faults about, see shim.c: built with the machine's compiler."""

import ctypes
import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

KINDS = ("count", "kill", "half", "full", "read-only")  # as in shim.c
SOURCE = Path(__file__).with_name("shim.c")


@dataclasses.dataclass(frozen=True)
class Fault:
    """What happens to a command.

    Attributes:
        kind: one of `KINDS`; "count" does nothing but count.
        moment: the call, of those that change something, from which on it happens.
        seconds: where given, it is killed after so much processor time instead.
        clock: looks at the clock after which it is three days ahead, or if negative back.
        lockless: have no locks.
    """

    kind: str = "count"
    moment: int = 0
    seconds: float | None = None
    clock: int = 0
    lockless: bool = False


def compiler() -> str | None:
    """Return the C compiler's name, if there is one."""
    return os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")


def under_shim(module: str, arguments: list[str], folder: Path) -> subprocess.Popen:
    """Start a module with the shim loaded, and have it find it; ``folder`` keeps what is built."""
    library = folder / "shim.so"
    build = [str(compiler()), "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(build, check=True)
    # One thread each: a process with several cannot be forked, and sums must repeat.
    single = dict.fromkeys(
        ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
    )
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": ""}
    environment = {**os.environ, **single, **quiet, "LD_PRELOAD": str(library)}
    return subprocess.Popen([sys.executable, "-m", module, *arguments], env=environment)


class Shim:
    """The shim in this process."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(os.environ["LD_PRELOAD"])
        self._library.fault_take.restype = ctypes.c_long

    def arm(self, folder: Path, fault: Fault) -> None:
        """Bring a fault about under a folder, in this process and those that it forks."""
        self._library.fault_arm(
            os.fsencode(folder),
            KINDS.index(fault.kind),
            ctypes.c_long(fault.moment),
            ctypes.c_long(fault.clock),
            int(fault.lockless),
        )
        if fault.seconds is not None:
            self._library.fault_after(ctypes.c_double(fault.seconds))

    def taken(self) -> int:
        """Return how many calls were counted since the last time, in all forked processes."""
        return self._library.fault_take()
