"""OUT/results.jsonl: one line for each finished photo, which survives a kill at any moment."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Self

from fcam_tf.atomic import write_atomically
from fcam_tf.predict.sources import OVERLAY_SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

RESULTS = "results.jsonl"
SETTINGS = "settings.json"
_OURS = {"file", "overlay", "heatmap", "modified"}


class SettingsChangedError(ValueError):
    """The output folder holds results that other settings made."""


class FolderBusyError(RuntimeError):
    """Another process is writing to the output folder."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides the results of a photo; kept in OUT/settings.json.

    Attributes:
        model: name of the classifier, file of the model or folder of the run.
        method: how maps are made, or "auto".
        threshold: "otsu", a number in [0, 1], or "auto".
        label: the class to localise as the user gave it; None is the predicted one.
        top: how many of the most probable classes are listed.
        heatmap: "png", "npy" or "none".
        layer: names of the layers to weigh, with commas; empty is the method's own choice.
    """

    model: str
    method: str
    threshold: str | float
    label: str | int | None = None
    top: int = 1
    heatmap: str = "png"
    layer: str = ""


@dataclasses.dataclass(frozen=True)
class Finished:
    """What is remembered of a finished photo.

    Attributes:
        name: what its outputs are called, without a suffix.
        modified: time of the photo's last change, in seconds.
        outputs: its files, relative to the output folder.
    """

    name: str
    modified: float
    outputs: tuple[str, ...]


class ResultsFile:
    """The results in an output folder: read at first, and after `start` open for more.

    The folder is locked against a second writer until `close`.

    Args:
        folder: the output folder; made by `start` if need be.
        settings: what the coming results are made with.
        overwrite: allow other settings than those of the results there, which are then forgotten.

    Attributes:
        folder: as given.
        finished: the valid results by file.

    Raises:
        SettingsChangedError: there are results of other settings, and ``overwrite`` is False.
        FolderBusyError: another process has the folder open.
        OSError: the folder cannot be read.
    """

    def __init__(self, folder: Path, settings: Settings, *, overwrite: bool = False) -> None:
        self.folder = folder
        self.finished: dict[str, Finished] = {}
        self._settings = settings
        self._file: Any = None
        self._locked: int | None = None
        try:
            if folder.exists():
                self._locked = _lock(folder)
                self.finished = {r["file"]: _finished(r) for r in read_results(folder)}
            if self.finished and _settings_differ(folder, settings, overwrite=overwrite):
                self.finished = {}
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, forget: Collection[str] = ()) -> None:
        """Drop torn lines and results that are to be made anew, and open the file for more.

        Args:
            forget: files whose results are dropped.

        Raises:
            FolderBusyError: another process has the folder open.
            OSError: the folder cannot be made or written to.
        """
        if self._locked is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._locked = _lock(self.folder)
        for file in forget:
            self.finished.pop(file, None)
        kept = {
            r["file"]: _line(r) for r in read_results(self.folder) if r["file"] in self.finished
        }
        write_atomically(self.folder / RESULTS, b"".join(kept.values()))
        settings = json.dumps(dataclasses.asdict(self._settings), indent=2) + "\n"
        write_atomically(self.folder / SETTINGS, settings.encode())
        self._file = (self.folder / RESULTS).open("ab", buffering=0)

    def append(self, record: dict[str, Any]) -> None:
        """Add one line, whole or not at all.

        Args:
            record: the result of a photo.

        Raises:
            OSError: the disk is full; the file is as it was.
        """
        before = self._file.tell()
        rest = memoryview(_line(record))
        try:
            while rest:  # a full disk takes a part first, and complains the next time
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(before)
            raise

    def close(self) -> None:
        """Close the file and unlock the folder."""
        if self._file is not None:
            self._file.close()
        if self._locked is not None:
            os.close(self._locked)


def read_results(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the records in an output folder, leaving out a line that a kill tore.

    Args:
        folder: the output folder.
    """
    try:
        file = (folder / RESULTS).open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and record.keys() >= _OURS:
                yield record


def _finished(record: dict[str, Any]) -> Finished:
    outputs = tuple(record[key] for key in ("overlay", "heatmap") if record[key])
    return Finished(record["overlay"].removesuffix(OVERLAY_SUFFIX), record["modified"], outputs)


def _settings_differ(folder: Path, settings: Settings, *, overwrite: bool) -> bool:
    """Tell whether others made the folder's results; an error unless those may be overwritten."""
    try:
        old = json.loads((folder / SETTINGS).read_bytes())
    except (FileNotFoundError, ValueError):
        changes = f"{SETTINGS} is missing"
    else:
        changes = ", ".join(
            f"{name} was {old.get(name)!r} and is now {value!r}"
            for name, value in dataclasses.asdict(settings).items()
            if value != old.get(name)
        )
    if changes and not overwrite:
        raise SettingsChangedError(
            f"{folder} holds results of other settings: {changes}; give another folder with `out`, "
            "or make them anew with `overwrite`"
        )
    return bool(changes)


def _line(record: dict[str, Any]) -> bytes:
    try:
        return (json.dumps(record, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # a file name that is no UTF-8
        return (json.dumps(record) + "\n").encode()


def _lock(folder: Path) -> int:
    """Lock a folder until the descriptor that is returned is closed, or the process ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise FolderBusyError(
            f"another process is writing to {folder}; wait for it, or choose another folder"
        ) from None
    except OSError:  # a network file system without locks
        pass
    return descriptor
