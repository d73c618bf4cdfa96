"""The timings of an unfinished table 4, so that a stop does not lose what takes an hour."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcam_tf.atomic import write_atomically
from fcam_tf.paper.runtime import Timing


class Kept:
    """Timings, a line of JSON each, in a file that goes when the table is written.

    Lines with other settings stay in the file and do not count. A damaged line is measured again.

    Args:
        file: its folder exists; the file need not.
        settings: what the times depend on, of JSON's kinds.
    """

    def __init__(self, file: Path, settings: Mapping[str, Any]) -> None:
        self._file = file
        self._settings = dict(settings)
        self._own: list[dict[str, Any]] = []
        self._others: list[dict[str, Any]] = []
        for line in file.read_text("utf-8").splitlines() if file.exists() else ():
            try:
                found = json.loads(line)
                Timing(**found["timing"])
                own = found["settings"] == self._settings
                _ = found["busy"], found["backbone"]  # both are there
            except (ValueError, KeyError, TypeError):
                continue
            (self._own if own else self._others).append(found)

    @property
    def busy(self) -> str:
        """What `runtime.busy` said when one of the timings was measured; empty if nothing."""
        return next(filter(None, (line["busy"] for line in self._own)), "")

    def of(self, backbone: str) -> list[Timing]:
        """Return what is there of a backbone, in the order of measuring."""
        return [Timing(**line["timing"]) for line in self._own if line["backbone"] == backbone]

    def add(self, backbone: str, timing: Timing, busy: str) -> None:
        """Keep a timing."""
        line = {"settings": self._settings, "backbone": backbone, "busy": busy}
        self._own.append({**line, "timing": timing._asdict()})
        self._write([*self._others, *self._own])

    def finish(self) -> None:
        """Forget the timings: the table is written."""
        if self._others:
            self._write(self._others)
        else:
            self._file.unlink(missing_ok=True)

    def _write(self, lines: list[dict[str, Any]]) -> None:
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        write_atomically(self._file, text.encode())
