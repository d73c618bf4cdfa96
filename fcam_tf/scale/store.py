"""The folder of a large job's results, here or at an address: whole files, and their settings."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec

from fcam_tf.atomic import write_atomically
from fcam_tf.claim import (
    SETTINGS,
    SettingsChangedError,
    changes,
    made_and_locked,
    parse_settings,
)
from fcam_tf.scale.inputs import Shard, is_remote

if TYPE_CHECKING:
    from fcam_tf.scale.blocks import Block

PLAN = "plan.jsonl"
ROWS, FAILURES = ".parquet", ".failures.jsonl"  # the files of a shard
_PART = "part-"  # what the names of shards begin with
_REMEDY = "give another folder with `out`, or make them again with `overwrite`"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a shard stands in the plan: its name, and the bytes of its line."""

    name: str
    start: int
    end: int


@dataclasses.dataclass(frozen=True)
class Store:
    """Files of a folder, each there as a whole or not at all.

    An object store shows an object when all of it has come, so nothing is renamed there.

    Attributes:
        address: a folder here, or an address that fsspec writes to.
    """

    address: str

    def names(self) -> set[str]:
        """Return the names of the shards' files that are there."""
        files, root = fsspec.core.url_to_fs(self.address)
        files.invalidate_cache()
        try:
            found = files.ls(root, detail=False)
        except FileNotFoundError:
            return set()
        names = {str(name).rpartition("/")[2] for name in found}
        return {name for name in names if name.startswith(_PART)}

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """Return the bytes of a file, or some of them; raise an OSError if they cannot be had."""
        files, path = self._at(name)
        return files.cat_file(path, start=start, end=end)

    def write(self, name: str, data: bytes) -> None:
        """Write a file, or raise an OSError."""
        if not is_remote(self.address):
            write_atomically(Path(self.address) / name, data)
            return
        files, path = self._at(name)
        files.pipe_file(path, data)

    def remove(self, name: str) -> None:
        """Remove a file."""
        files, path = self._at(name)
        files.rm_file(path)

    def _at(self, name: str) -> tuple[Any, str]:
        files, root = fsspec.core.url_to_fs(self.address)
        return files, f"{root.rstrip('/')}/{name}"

    def shard(self, place: Place) -> Shard:
        """Read a shard of the plan."""
        return Shard.from_line(self.read(PLAN, place.start, place.end))

    @contextlib.contextmanager
    def claimed(self, settings: Mapping[str, Any], *, overwrite: bool) -> Iterator[Claim]:
        """Hold the folder to its settings; a folder here is locked, too.

        Args:
            settings: all that its results depend on, as JSON values.
            overwrite: let results of other settings be removed, instead of refusing.

        Yields:
            The claim; nothing is written before its ``begin``.

        Raises:
            SettingsChangedError: there are results of other settings, and ``overwrite`` is False.
            FolderBusyError: another process has the folder.
            OSError: the folder cannot be made or read.
        """
        settings = json.loads(json.dumps(settings))
        here = not is_remote(self.address)
        lock = made_and_locked(Path(self.address), wait=False) if here else contextlib.nullcontext()
        with lock:
            before, notes = self._settings()
            held = self.names()
            changed = changes(before, settings)
            if changed and (before or held) and not overwrite:
                what = (
                    ", ".join(map(str, changed)) if before else f"{SETTINGS} is missing or damaged"
                )
                if before and before.keys() != settings.keys():
                    what = "another command or version"
                raise SettingsChangedError(
                    f"{self.address} holds results of other settings: {what}; {_REMEDY}"
                )
            yield Claim(self, settings, notes, set() if changed or overwrite else held)

    def _settings(self) -> tuple[dict[str, Any], dict[str, Any]]:
        try:
            return parse_settings(self.read(SETTINGS))
        except FileNotFoundError:
            return {}, {}


@dataclasses.dataclass(frozen=True)
class Claim:
    """A folder that is ours to write to.

    Attributes:
        done: the names of the files in it that are of these settings.
    """

    _store: Store
    _settings: Mapping[str, Any]
    _notes: Mapping[str, Any]
    done: set[str]

    def check(self, made_with: Mapping[str, Any], *, overwrite: bool) -> None:
        """Refuse to go on with results for which "auto" came to something else.

        Raises:
            SettingsChangedError: they were made with something else than ``made_with``.
        """
        before = self._notes.get("made_with")
        if self.done and not overwrite and before not in (None, json.loads(json.dumps(made_with))):
            raise SettingsChangedError(
                f"{self._store.address} holds results made with {before}; new ones would be made "
                f"with {made_with}; {_REMEDY}"
            )

    def todo(self, shards: Sequence[Shard]) -> list[Shard]:
        """Return the shards that have no results yet."""
        return [shard for shard in shards if shard.name + ROWS not in self.done]

    def begin(self, shards: Sequence[Shard], **notes: Any) -> list[Place]:
        """Write settings, notes and the plan, after removing what is of other shards or half.

        Args:
            shards: all of the job.
            notes: what is kept beside the settings.

        Returns:
            Where those that are to do stand in the plan.
        """
        todo = {shard.name for shard in self.todo(shards)}
        finished = {shard.name for shard in shards} - todo
        for name in sorted(self._store.names()):
            # First: what is of other settings must never stand beside these.
            if name not in self.done or name.partition(".")[0] not in finished:
                self._store.remove(name)
        values = {"settings": self._settings, **notes}
        self._store.write(SETTINGS, (json.dumps(values, indent=1) + "\n").encode())
        self._store.write(PLAN, b"".join(shard.line() for shard in shards))
        return [place for place in places_of(shards) if place.name in todo]


def places_of(shards: Sequence[Shard | Block]) -> list[Place]:
    """Return where shards, or blocks, stand in a plan of them all."""
    places, start = [], 0
    for shard in shards:
        end = start + len(shard.line())
        places.append(Place(shard.name, start, end))
        start = end
    return places
