"""A folder belongs to the settings that its results were made with."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fcam_tf.atomic import locked, write_json
from fcam_tf.names import current

SETTINGS = "settings.json"
REMEDY = "give another folder, or remove this one to start afresh"
_LONGEST = 70  # characters of a value in a message


class Change(NamedTuple):
    """A setting that differs.

    Attributes:
        name: the setting, those in others with dots, ``files.mask``.
        before: its value, as JSON has it; ``...`` where it was not set.
        now: the same, now.
    """

    name: str
    before: Any
    now: Any

    def __str__(self) -> str:
        """Return the change as messages have it."""
        return f"{self.name} was {_shown(self.before)} and is now {_shown(self.now)}"


class SettingsChangedError(ValueError):
    """The folder holds results of other settings; the message says which differ.

    Attributes:
        folder: the folder, where ``changes`` are known.
        changes: each setting that differs.
        remedy: what to do.
    """

    folder: Path | None = None
    changes: Sequence[Change] = ()
    remedy = ""


class FolderBusyError(RuntimeError):
    """Another process is writing to the folder."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A folder that is ours to write to.

    Attributes:
        goes_on: whether the folder holds results of these settings.
    """

    goes_on: bool
    _file: Path
    _settings: Mapping[str, Any]
    _notes: Mapping[str, Any]
    _results: Sequence[str]

    def begin(self, *, afresh: bool = False, **notes: Any) -> None:
        """Write settings and notes, after removing results of other settings.

        Args:
            afresh: remove results of the same settings, too.
            notes: further notes.

        Raises:
            OSError: the folder cannot be written to.
        """
        if afresh or not self.goes_on:
            # First: they must never stand beside settings that are not theirs.
            for path in _held(self._file.parent, self._results):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        notes = {**self._notes, **notes}
        write_json(self._file, {"settings": self._settings, **notes} if notes else self._settings)


@contextlib.contextmanager
def claim(
    folder: Path,
    settings: Mapping[str, Any],
    results: Sequence[str],
    *,
    file: str = SETTINGS,
    notes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    wait: bool = False,
    remedy: str = REMEDY,
    free: Sequence[str] = (),
) -> Iterator[Claim]:
    """Lock a folder for results of some settings; refuse it where it holds those of others.

    The folder is made if need be, and removed again where nothing was written to it. A process
    that ends, however it does, unlocks it. On a network file system without locks the work goes
    on without.

    Args:
        folder: the folder.
        settings: all that its results depend on, as JSON values.
        results: names or patterns of its files and folders that depend on them.
        file: the file in it that keeps the settings.
        notes: what is kept beside the settings, and may differ.
        overwrite: let results of other settings be removed, instead of refusing.
        wait: for another process that has the folder, instead of refusing.
        remedy: what to do about other settings.
        free: names of settings that may differ, as those that say where something is.

    Yields:
        The claim. Nothing is changed before its ``begin``.

    Raises:
        SettingsChangedError: there are results of other settings, and ``overwrite`` is False.
        FolderBusyError: another process has the folder, and ``wait`` is False.
        OSError: the folder cannot be made or read.
    """
    settings = json.loads(json.dumps(settings))
    with made_and_locked(folder, wait=wait):
        before, _ = read_settings(folder / file)
        changed = changes(_without(free, before), _without(free, settings))
        goes_on = not changed and (folder / file).exists()
        # Commands share this name of a file, but not the names of their settings and results.
        others = file == SETTINGS and before and before.keys() != settings.keys()
        if not goes_on and not overwrite and (others or _held(folder, results)):
            known = before and not others
            what = ", ".join(map(str, changed)) if known else f"{file} is missing or damaged"
            what = "another command or version" if others else f"other settings: {what}"
            error = SettingsChangedError(f"{folder} holds results of {what}; {remedy}")
            if known:
                error.folder, error.changes, error.remedy = folder, changed, remedy
            raise error
        yield Claim(goes_on, folder / file, settings, notes or {}, results)


def read_settings(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings and notes that `claim` wrote; empty where the file cannot be read."""
    try:
        return parse_settings(path.read_bytes())
    except FileNotFoundError:
        return {}, {}


def parse_settings(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings and notes in what `claim` wrote; empty where it is damaged."""
    try:
        found = json.loads(data, object_hook=current)
    except (ValueError, RecursionError):
        return {}, {}
    found = found if isinstance(found, dict) else {}
    settings = found.pop("settings", None)
    return (settings, found) if isinstance(settings, dict) else (found, {})


def differences(file: Path, settings: Mapping[str, Any]) -> list[str]:
    """Say how settings differ from those that `claim` keeps in a file, as far as they are given."""
    before, _ = read_settings(file)
    if not before:
        return [f"{file.name} is missing or damaged"]
    settings = json.loads(json.dumps(settings))
    known = {name: before[name] for name in settings if name in before}
    return list(map(str, changes(known, settings)))


def changes(before: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> list[Change]:
    """Return which settings differ, and how; both are JSON values."""
    found: list[Change] = []
    for key in {**now, **before}:
        old, new = before.get(key, ...), now.get(key, ...)
        if isinstance(old, dict) and isinstance(new, dict):
            found += changes(old, new, f"{within}{key}.")
        elif old != new:
            found.append(Change(f"{within}{key}", old, new))
    return found


def _held(folder: Path, results: Sequence[str]) -> list[Path]:
    found = [path for name in results for path in folder.glob(name)]
    # An empty file is not a result.
    return [path for path in found if path.is_dir() or path.stat().st_size]


@contextlib.contextmanager
def made_and_locked(folder: Path, *, wait: bool) -> Iterator[None]:
    """Lock a folder, made if need be, and remove it again where nothing was written to it."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    with contextlib.ExitStack() as until_done:
        locks = False
        while not (locks and folder.exists()):  # whom we waited for may have removed it
            until_done.close()
            if not folder.exists():
                folder.mkdir(parents=True, exist_ok=True)
            try:
                until_done.enter_context(locked(folder, wait=wait))
                locks = True
            except BlockingIOError:
                raise FolderBusyError(
                    f"another process is writing to {folder}; wait for it, or choose another folder"
                ) from None
            except FileNotFoundError:
                pass
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # until one is not empty
                for path in missing:
                    path.rmdir()


def _without(names: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in names}


def _shown(value: Any) -> str:
    text = "not set" if value is ... else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
