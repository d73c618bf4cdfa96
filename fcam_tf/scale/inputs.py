"""Which photos a large job takes, and which of them go together: its shards.

A shard is told by its content, not by who works on it: the same inputs give the same shards, whose
results have the same names.
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Self

import fsspec

from fcam_tf.addresses import stream_options
from fcam_tf.names import line_of
from fcam_tf.photos import SUFFIXES
from fcam_tf.predict.archives import is_archive, is_photo
from fcam_tf.predict.inputs import Failure, find_photos, is_excluded
from fcam_tf.predict.video import is_video

FILES, ZIP, TFRECORD = "files", "zip", "tfrecord"
_TFRECORD = re.compile(r"\.tfrecords?(-\d+-of-\d+)?$|-\d{5}-of-\d{5}$")
_LISTING = ".txt"
# What tells a file from its replacement, by the names that file systems have for it.
_VERSION = ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "created")

State = tuple[Any, ...]  # of a file: what changes with its content, as far as listing it tells


@dataclasses.dataclass(frozen=True)
class Shard:
    """Photos that are localised together, in one order.

    Attributes:
        name: what its results are called, without an ending.
        kind: "files", "zip" or "tfrecord".
        address: of the zip or TFRecord file; empty for files.
        entries: addresses of photos, or their names in the zip file; of a TFRecord file none, as
            all its records are meant.
    """

    name: str
    kind: str
    address: str
    entries: tuple[str, ...]

    def line(self) -> bytes:
        """Return it as a line of JSON."""
        return (json.dumps(dataclasses.asdict(self)) + "\n").encode()

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Read what `line` gives."""
        values = json.loads(line)
        return cls(**{**values, "entries": tuple(values["entries"])})


@dataclasses.dataclass
class Plan:
    """What a job takes.

    Attributes:
        shards: in the order of their names.
        failures: arguments that stand for no photo.
        notes: what was passed over, in a line for each kind.
    """

    shards: list[Shard] = dataclasses.field(default_factory=list)
    failures: list[Failure] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def plan_shards(
    arguments: Iterable[str | os.PathLike[str]], exclude: Sequence[str] = (), shard_size: int = 256
) -> Plan:
    """Find photos, each once, and divide them in the order of their names.

    Args:
        arguments: photos, folders, globs, zip and TFRecord files, here or at addresses that fsspec
            knows (a folder's ends in "/"), and listings: text files (.txt) with one photo, zip or
            TFRecord file a line, or globs of them.
        exclude: patterns of photos that are left out, see `predict.inputs.find_photos`.
        shard_size: photos in a shard; a TFRecord file is a shard by itself.

    Returns:
        The plan; what cannot be listed is among its failures.
    """
    found = _Found(exclude)
    for argument in arguments:
        found.take(os.fspath(argument))
    photos = sorted(found.photos.items())
    shards = [_Part(FILES, "", part) for part in _parts(photos, shard_size)]
    for address, state in sorted(found.containers.items()):
        if is_tfrecord(address):
            shards.append(_Part(TFRECORD, address, [(address, state)]))
            continue
        try:
            members = [(name, None) for name in _members(address)]
        except (OSError, zipfile.BadZipFile, ValueError, ImportError) as error:
            found.failures.append(Failure(address, f"the archive cannot be read: {line_of(error)}"))
            continue
        if not members:
            found.failures.append(Failure(address, "there is no photo in it"))
        shards += [_Part(ZIP, address, part, state) for part in _parts(members, shard_size)]
    named = [part.shard(number) for number, part in enumerate(shards)]
    return Plan(named, found.failures, found.notes)


def is_tfrecord(name: str) -> bool:
    """Tell by its name whether a file is one of TFRecord: a.tfrecord, train-00000-of-00128."""
    return bool(_TFRECORD.search(name))


def is_remote(argument: str) -> bool:
    """Tell whether an argument is an address that fsspec opens."""
    return "://" in argument and not os.path.lexists(argument)


@dataclasses.dataclass
class _Part:
    """A shard without its name."""

    kind: str
    address: str
    entries: list[tuple[str, Any]]
    state: Any = None

    def shard(self, number: int) -> Shard:
        content = json.dumps([self.kind, self.address, self.state, self.entries]).encode()
        name = f"part-{number:05}-{hashlib.sha256(content).hexdigest()[:12]}"
        names = () if self.kind == TFRECORD else tuple(name for name, _ in self.entries)
        return Shard(name, self.kind, self.address, names)


class _Found:
    """Photos, and files that hold several, by their addresses, with their states."""

    def __init__(self, exclude: Sequence[str]) -> None:
        self.exclude = exclude
        self.photos: dict[str, State | None] = {}
        self.containers: dict[str, State | None] = {}
        self.failures: list[Failure] = []
        self.notes: list[str] = []

    def take(self, argument: str) -> None:
        """Add what an argument stands for."""
        try:
            if argument.endswith(_LISTING):
                with fsspec.open(argument, "rt", encoding="utf-8-sig") as file:
                    lines = [text for line in file if (text := line.strip())]
                if not lines:
                    self.failures.append(Failure(argument, "the listing is empty"))
                for line in lines:
                    self._take_line(line)
            elif is_remote(argument):
                self._take_remote(argument)
            else:
                self._take_local(argument)
        except (OSError, ValueError, ImportError) as error:
            reason = getattr(error, "strerror", None) or line_of(error)
            self.failures.append(Failure(argument, reason))

    def _take_line(self, line: str) -> None:
        if glob.has_magic(line):
            self.take(line)
        else:  # is not looked at now: a listing may have millions
            self._add(line if is_remote(line) else os.path.abspath(line), None)  # noqa: PTH100

    def _take_local(self, argument: str) -> None:
        matches = [argument]
        if glob.has_magic(argument) and not os.path.lexists(argument):
            matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - knows "**"
        several = [name for name in matches if _holds_several(name) and os.path.isfile(name)]  # noqa: PTH113
        for name in several:
            self._add(os.path.abspath(name), _state_of(name))  # noqa: PTH100
        if several and len(several) == len(matches):
            return
        sources, failures, notes = find_photos([argument], self.exclude)
        for source in sources:
            if not _holds_several(str(source.path)):
                self.photos.setdefault(str(source.path), _state_of(source.path))
        self.failures += failures
        self.notes += notes

    def _take_remote(self, address: str) -> None:
        files, path = fsspec.core.url_to_fs(address, **stream_options(address))
        if glob.has_magic(path):
            found = files.glob(path, detail=True)
            root = path[: re.search(r"[*?[]", path).start()].rpartition("/")[0]  # type: ignore[union-attr]
        elif address.endswith("/"):
            every = files.find(path, detail=True)
            found = {name: info for name, info in every.items() if _is_photo(name)}
            root = path
        else:
            self._add(address, None)
            return
        count = 0
        for name, info in found.items():
            relative = Path(os.path.relpath(name, root))
            if info.get("type") == "file" and not is_excluded(relative, self.exclude):
                version = next((str(info[key]) for key in _VERSION if info.get(key)), "")
                self._add(files.unstrip_protocol(name), (info.get("size"), version))
                count += 1
        if not count:
            self.failures.append(Failure(address, "no photo is there"))

    def _add(self, address: str, state: State | None) -> None:
        if is_video(Path(address)) or (is_archive(Path(address)) and not _holds_several(address)):
            reason = "of large jobs only zip and TFRecord files are taken; localise it without Beam"
            self.failures.append(Failure(address, reason))
        elif _holds_several(address):
            self.containers.setdefault(address, state)
        else:
            self.photos.setdefault(address, state)


def _holds_several(name: str) -> bool:
    return is_tfrecord(name) or name.lower().endswith(".zip")


def _is_photo(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES and is_photo(name)


def _state_of(file: str | os.PathLike[str]) -> State | None:
    try:
        found = os.stat(file)  # noqa: PTH116 - of many
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _members(address: str) -> list[str]:
    """Return the names of the photos in a zip file, each once, in their order."""
    options = stream_options(address, whole=False)
    with fsspec.open(address, "rb", **options) as file, zipfile.ZipFile(file) as archive:
        names = [each.filename for each in archive.infolist() if not each.is_dir()]
    return list(dict.fromkeys(name for name in names if is_photo(name)))


def _parts(items: Sequence[tuple[str, Any]], size: int) -> Iterator[list[tuple[str, Any]]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
