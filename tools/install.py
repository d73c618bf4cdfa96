"""Runs `pip install` and shows in one line how far it is, with what Python itself has.

    .venv/bin/python tools/install.py --editable '.[dev]'

All that pip says is kept back, and the end of it shown if it fails.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterable
from pathlib import Path

_BAR = 30  # characters
_TOLD = 25  # lines of pip, if it fails
_BYTES = {"kB": 1e-3, "MB": 1, "GB": 1e3}


class Progress:
    """What the lines of pip come to, as a line to show.

    Attributes:
        lines: all of them.
        total: packages that are to be installed; 0 until pip has found out.
        complete: whether all are; some may have taken the place of others.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.total, self.complete = 0, False
        self._found, self._megabytes, self._builds = 0, 0.0, ""

    def read(self, line: str) -> None:
        """Take the next line of pip."""
        self.lines.append(line)
        text = line.strip()
        if text.startswith("Collecting "):
            self._found += 1
        elif size := re.match(r"Downloading .*\(([\d.]+) ([kMG]B)\)", text):
            self._megabytes += float(size[1]) * _BYTES[size[2]]
        elif built := re.match(r"(Building \w+ for [\w-]+)", text):
            self._builds = built[1] if "started" in text or "status" not in text else ""
        elif text.startswith("Installing collected packages: "):
            self.total = text.count(",") + 1

    def shown(self, installed: int) -> str:
        """Return the line, where ``installed`` packages are there of those that are to be."""
        if not self.total:
            found = f"{self._found} packages found, {self._megabytes:.0f} MB downloaded"
            return f"{found}; {self._builds}" if self._builds else found
        done = self.total if self.complete else min(installed, self.total)
        bar = "#" * (_BAR * done // self.total)
        return f"[{bar:<{_BAR}}] {done} of {self.total} packages installed"


def _installed() -> int:
    return sum(1 for _ in Path(sysconfig.get_path("purelib")).glob("*.dist-info"))


def _show(progress: Progress, ended: threading.Event) -> None:
    """Write the line until the end: over the last one on a terminal, else every 15 seconds."""
    before, terminal = _installed(), sys.stdout.isatty()
    while True:
        over = ended.wait(0.2 if terminal else 15)
        line = progress.shown(_installed() - before)
        width = shutil.get_terminal_size().columns - 1
        print(
            f"\r{line[:width]:<{width}}" if terminal else line,
            end="" if terminal else "\n",
            flush=True,
        )
        if over:
            print(end="\n" if terminal else "")
            return


def install(arguments: Iterable[str]) -> int:
    """Run pip with arguments; return its exit status."""
    options = ["--disable-pip-version-check", "--no-color", "--progress-bar=off"]
    command = [sys.executable, "-u", "-m", "pip", "install", *options, *arguments]
    progress, ended, begin = Progress(), threading.Event(), time.monotonic()
    shown = threading.Thread(target=_show, args=(progress, ended))
    shown.start()
    try:
        with subprocess.Popen(  # noqa: S603 - pip
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as pip:
            for line in pip.stdout or ():
                progress.read(line.rstrip())
            progress.complete = not pip.wait()
    finally:
        ended.set()
        shown.join()
    if pip.returncode:
        print("\n".join(progress.lines[-_TOLD:]))
    else:
        print(f"{progress.total} packages in {time.monotonic() - begin:.0f} s")
    return pip.returncode


if __name__ == "__main__":
    sys.exit(install(sys.argv[1:]))
