"""Extracting photos from zip and tar files; other members are ignored."""

from __future__ import annotations

import itertools
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Self

from fcam_tf.names import line_of, shortened
from fcam_tf.photos import SUFFIXES

MAX_BYTES = 2**30  # of one photo
_ENDINGS = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
_ENCRYPTED = 1  # in the flags of a member of a zip file
# What the readers raise; a RuntimeError where there is a compression that they do not know.
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError, zlib.error, lzma.LZMAError),
)
_CHUNK = 2**20
_NAME_BYTES = 200  # file systems allow 255, and what is written beside a file adds to its name


def is_archive(path: Path) -> bool:
    """Tell by its name whether a file is an archive."""
    return path.name.lower().endswith(_ENDINGS)


def is_photo(name: str) -> bool:
    """Tell by its name whether a member of an archive is a photo; hidden files are not."""
    path = PurePosixPath(name.replace("\\", "/"))
    hidden = any((p.startswith(".") and p != "..") or p == "__MACOSX" for p in path.parts)
    return not hidden and path.suffix.lower() in SUFFIXES


def unpack(path: Path, folder: Path) -> tuple[int, dict[str, str]]:
    """Write the photos of an archive below a folder, with their paths in the archive.

    Hidden files, links and devices do not count as photos, and no file is written outside of the
    folder. Names that lead to the same path are numbered. If members have the same name, the last
    one counts, as in other unpackers.

    Returns:
        The number of photos, and why others could not be read, by their names in the archive; ""
        stands for everything after the readable photos.

    Raises:
        ValueError: there are no photos, one is above `MAX_BYTES`, they do not fit on the disk, or
            none can be read because the archive is damaged or has a password.
        OSError: a photo cannot be written.
    """
    places: dict[str, Path] = {}
    damaged: dict[str, str] = {}
    rest = shutil.disk_usage(folder).free
    try:
        for name, size, read in _members(path):
            rest -= size
            if size > MAX_BYTES:
                large = f"{shortened(name)} in it has {size >> 20} MB"
                raise ValueError(f"{large}, which is too much")
            if rest < 0:
                raise ValueError("its photos need more than what the disk has free")
            place = places.get(name) or _unused(folder, inside(name), set(places.values()))
            places[name] = place
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                with place.open("wb") as to, read() as source:
                    copy(source, to, MAX_BYTES)
            except DAMAGE as error:
                damaged[name] = f"it cannot be read: {line_of(error)}"
                places.pop(name).unlink()
    except DAMAGE as error:
        damaged[""] = f"the archive cannot be read to its end: {line_of(error)}"
    if not places:
        reasons = [reason.partition(": ")[2] for reason in damaged.values()]
        why = f"the archive cannot be read: {reasons[-1]}" if reasons else "there is no photo in it"
        raise ValueError(why)
    return len(places), damaged


def copy(source: IO[bytes], to: IO[bytes], most: int) -> None:
    """Copy a file in pieces; raise a ValueError if it has more bytes than ``most``."""
    while piece := source.read(_CHUNK):
        if to.tell() + len(piece) > most:
            raise ValueError(f"it is larger than the {most >> 20} MB that are allowed")
        to.write(piece)


def inside(name: str) -> Path:
    """Return a relative path for a name with slashes; it never leads out of a folder."""
    parts = [p for p in name.replace("\\", "/").split("/") if p not in ("", ".", "..")]
    return Path(*(_shortened(part.replace(":", "_")) for part in parts))


def numbered(path: Path) -> Iterator[Path]:
    """Yield a path, then numbered variants: "a.zip", "a-2.zip"."""
    yield path
    yield from (path.with_name(f"{path.stem}-{n}{path.suffix}") for n in itertools.count(2))


def _shortened(part: str) -> str:
    """Cut a long name in bytes, at its beginning: its end tells what it is."""
    data = os.fsencode(part)
    return part if len(data) <= _NAME_BYTES else data[-_NAME_BYTES:].decode("utf-8", "ignore")


def _unused(folder: Path, relative: Path, files: Collection[Path]) -> Path:
    """Return a place below a folder that is none of its files, nor below one."""
    for part in relative.parts[:-1]:
        folder = next(place for place in numbered(folder / part) if place not in files)
    places = numbered(folder / relative.name)
    return next(place for place in places if place not in files and not place.is_dir())


def _members(path: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    """Yield name, size and reader of each photo in an archive; links and devices are no photos."""
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            for each in archive.infolist():
                if is_photo(each.filename) and not each.is_dir():
                    if each.flag_bits & _ENCRYPTED:
                        raise zipfile.BadZipFile("it has a password")
                    yield each.filename, each.file_size, partial(archive.open, each)
        return
    with tarfile.open(path, tarinfo=_Header) as tar:
        try:
            for member in tar:
                if member.isfile() and is_photo(member.name):
                    yield member.name, member.size, partial(_extracted, tar, member)
        except (OverflowError, ValueError) as error:  # a number in a header is none, or too large
            raise tarfile.ReadError(line_of(error)) from None


# Not in the stubs of mypy; of the kinds of `HeaderError`, the others mark the end.
_DAMAGED = (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError)  # type: ignore[attr-defined]


class _Header(tarfile.TarInfo):
    """A header in a tar file; tarfile takes a damaged one for the end, if any came before it."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tar)
        except _DAMAGED as error:
            raise tarfile.ReadError(line_of(error)) from None


def _extracted(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    found = tar.extractfile(member)
    if found is None:  # of what is no file
        raise tarfile.ReadError(f"{member.name} is not a file")
    return found
