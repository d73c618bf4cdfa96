"""One target of fuzz.py, in a process of its own: MODULE NAME FOLDER and flags of libFuzzer."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

LAST = 16  # inputs that are kept of a process that a case ends, or one shortly before
_MORE_MEMORY = 2 << 30  # bytes that a case may take beyond what the imports took
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_ONE, _SECOND = slice(0, 1), slice(1, 2)  # which arguments are what is written
_PATHS = dict.fromkeys(("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod"), _ONE)
_PATHS |= {"os.rename": slice(0, 2), "os.link": _SECOND, "os.symlink": _SECOND}
_HARMLESS = (os.devnull, "/proc/self/comm")  # absl says there what the process is called
_FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect")


@dataclasses.dataclass(frozen=True)
class Target:
    """What is tried.

    Attributes:
        run: takes the input and an empty folder to work in.
        refusals: the errors that it may raise.
        seeds: what inputs grow from.
        named: the message of a refusal must have the folder's name in it, as it names a file there.
        words: what inputs are likely made of.
    """

    run: Callable[[bytes, Path], Any]
    refusals: tuple[type[Exception], ...]
    seeds: Callable[[], list[bytes]]
    named: bool = False
    words: tuple[str, ...] = ()


class FaultError(Exception):
    """A target found what must not be; the message says what."""


class Judge:
    """Runs cases and keeps account of them.

    Attributes:
        counts: what there was, see `save`.
    """

    def __init__(self, target: Target, folder: Path, scratch: Path) -> None:
        self.target, self.folder, self.scratch = target, folder, scratch
        (folder / "last").mkdir(exist_ok=True)
        self.counts: dict[str, Any] = {"cases": 0, "worked": 0, "refused": 0, "faults": []}
        self._begin = self._saved = time.monotonic()
        self._slowest = 0.0
        self._offences: list[str] | None = None  # None outside of a case
        sys.addaudithook(self._watch)

    def case(self, data: bytes) -> None:
        """Run one case; its input is on file before that, as the case may end the process."""
        number = self.counts["cases"]
        (self.folder / "last" / f"case-{number:09}").write_bytes(data)
        (self.folder / "last" / f"case-{number - LAST:09}").unlink(missing_ok=True)
        place = self.scratch / "a case"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        begin = time.monotonic()
        self._offences = offences = []
        try:
            self.target.run(data, place)
            self.counts["worked"] += 1
        except self.target.refusals as error:
            self.counts["refused"] += 1
            told = f"{error} {getattr(error, 'filename', '')}"
            if self.target.named and place.name not in told:
                self._keep("it names no file", data, error)
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            self._keep(f"{type(error).__name__} at {_where(error)}", data, error)
        finally:
            self._offences = None
        for offence in offences:
            what, _, stack = offence.partition("\n")
            self._keep(f"it would {what}", data, stack)
        self.counts["cases"] += 1
        self._slowest = max(self._slowest, time.monotonic() - begin)
        if time.monotonic() > self._saved + 1:
            self.save()

    def save(self) -> None:
        """Write the counts to a file, as the process may end at any moment."""
        self._saved = time.monotonic()
        found = {**self.counts, "seconds": self._saved - self._begin, "slowest": self._slowest}
        (self.folder / "counts.json").write_text(json.dumps(found), "utf-8")

    def _keep(self, what: str, data: bytes, error: BaseException | str) -> None:
        self._offences = None
        if what in self.counts["faults"]:
            return
        self.counts["faults"].append(what)
        self.save()
        name = "fault-" + "".join(c if c.isalnum() else "-" for c in what)[:100]
        (self.folder / name).write_bytes(data)
        told = error if isinstance(error, str) else "".join(traceback.format_exception(error))
        (self.folder / f"{name}.txt").write_text(told, "utf-8", errors="backslashreplace")

    def _watch(self, event: str, arguments: tuple) -> None:
        if self._offences is None:
            return
        if event == "open":
            path, _, mode = arguments
            written = [path] if mode & _WRITES and not isinstance(path, int) else []
        elif event in _PATHS:
            written = [p for p in arguments[_PATHS[event]] if not isinstance(p, int)]
        else:
            written = []
            ours = arguments and arguments[0] == sys.executable  # which filters what libraries say
            if event in _FORBIDDEN and not ours:
                self._offend(event)
                raise PermissionError(event)
        for path in written:
            whole = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - links count as they are
            if not f"{whole}/".startswith(f"{self.scratch}/") and whole not in _HARMLESS:
                self._offend(f"{event} {whole}")

    def _offend(self, what: str) -> None:
        if self._offences is not None:
            offences, self._offences = self._offences, None  # of what looks for the stack
            offences.append("".join([what, "\n", *traceback.format_stack()[:-2]]))
            self._offences = offences


def keep_last(folder: Path) -> Path | None:
    """Keep the last inputs of a process that has not ended by itself; return their folder.

    Broken memory may be found only some cases after the one that broke it.
    """
    last = folder / "last"
    if not last.exists():
        return None
    return last.rename(folder / f"ended-{time.time_ns()}")


def _where(error: BaseException) -> str:
    """Return the line of ours that an error passed last."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "fcam_tf" in frame.filename] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    most = pages * resource.getpagesize() + _MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(module: str, name: str, folder: Path, options: list[str]) -> None:
    """Run a target until libFuzzer's time is over."""
    import atheris  # noqa: PLC0415 - tests do without

    with tempfile.TemporaryDirectory(prefix="fcam-fuzz-") as scratch:
        for variable in ("TMPDIR", "HOME", "FCAM_CACHE", "XDG_CACHE_HOME"):
            os.environ[variable] = scratch
        tempfile.tempdir = scratch
        with atheris.instrument_imports(include=["fcam_tf"]):
            target = importlib.import_module(module).TARGETS[name]
        for index, seed in enumerate(target.seeds()):
            (folder / "corpus" / f"seed-{index}").write_bytes(seed)
        # As hexadecimal, which escapes quotes; an empty file is refused.
        coded = ["".join(f"\\x{byte:02x}" for byte in w.encode()) for w in target.words or ("0",)]
        (folder / "words").write_text("".join(f'"{word}"\n' for word in coded), "ascii")
        os.chdir(scratch)
        judge = Judge(target, folder, Path(scratch))
        for seed in target.seeds():  # imports what is imported late
            judge.case(seed)
        _limit_memory()
        arguments = [sys.argv[0], f"-dict={folder}/words", *options, f"{folder}/corpus"]
        atheris.Setup(arguments, judge.case)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
