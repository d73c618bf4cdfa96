"""Extracting photos from zip and tar files; other members are ignored."""

from __future__ import annotations

import contextlib
import gzip
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
from typing import IO, Any, Self

from fcam_tf.names import line_of, shortened
from fcam_tf.photos import SUFFIXES

MAX_BYTES = 2**30  # of one photo
_ENDINGS = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
_ENCRYPTED = 1  # in the flags of a member of a zip file
# What the readers raise; a RuntimeError where there is a compression that they do not know.
_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError, zlib.error, lzma.LZMAError),
    gzip.BadGzipFile,
)
_OF_BZ2 = "Invalid data stream"  # an OSError like that of a full disk
_CHUNK = 2**20
_NAME_BYTES = 200  # file systems allow 255, and what is written beside a file adds to its name


class DamagedError(Exception):
    """An archive, or a file in it, cannot be read; the message says why in one line."""


@contextlib.contextmanager
def damage() -> Iterator[None]:
    """Turn what the readers raise about what they read into a `DamagedError`."""
    try:
        yield
    except (*_DAMAGE, OSError) as error:
        if not isinstance(error, _DAMAGE) and str(error) != _OF_BZ2:
            raise
        raise DamagedError(line_of(error)) from None


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
                with damage(), place.open("wb") as to, read() as source:
                    copy(source, to, MAX_BYTES)
            except DamagedError as error:
                damaged[name] = f"it cannot be read: {error}"
                places.pop(name).unlink()
    except DamagedError as error:
        damaged[""] = f"the archive cannot be read to its end: {error}"
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
    kind = _zipped if path.suffix.lower() == ".zip" else _tarred
    with damage():
        yield from kind(path)


def _zipped(path: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    with zipfile.ZipFile(path) as archive:
        for each in archive.infolist():
            if is_photo(each.filename) and not each.is_dir():
                yield each.filename, each.file_size, partial(_opened, archive, each)


def _opened(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    if member.flag_bits & _ENCRYPTED:
        raise zipfile.BadZipFile("it has a password")
    return archive.open(member)


def _tarred(path: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    # Behind the zeros at the end of one tar file, there may be another.
    with _Tar.open(path, ignore_zeros=True) as tar:
        try:
            for member in tar:
                if member.isfile() and is_photo(member.name):
                    yield member.name, member.size, partial(_extracted, tar, member)
        except (OverflowError, ValueError) as error:  # a number in a header is none, or too large
            raise tarfile.ReadError(line_of(error)) from None


class _Header(tarfile.TarInfo):
    """A header in a tar file; tarfile takes a damaged or missing one for the end."""

    @classmethod
    def fromtarfile(cls, tar: Any) -> Self:
        try:
            header = super().fromtarfile(tar)
        except _HEADERS.EOFHeaderError:
            tar.ended = True
            raise
        except (_HEADERS.EmptyHeaderError, _HEADERS.TruncatedHeaderError) as error:
            if tar.ended or not tar.offset:  # nothing at all is told elsewhere
                raise
            cut = "it ends without the zeros that mark its end, so it may be cut off"
            empty = isinstance(error, _HEADERS.EmptyHeaderError)
            raise tarfile.ReadError(cut if empty else line_of(error)) from None
        except _HEADERS.InvalidHeaderError as error:
            raise tarfile.ReadError(line_of(error)) from None
        tar.ended = False
        return header


class _Tar(tarfile.TarFile):
    tarinfo = _Header
    ended = False  # whether zeros were the last that was read


_HEADERS: Any = tarfile  # with errors that are not in the stubs of mypy


def _extracted(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    found = tar.extractfile(member)
    if found is None:  # of what is no file
        raise tarfile.ReadError(f"{member.name} is not a file")
    return found
