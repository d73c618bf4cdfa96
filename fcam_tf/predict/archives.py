"""Photos out of zip and tar files; what else is in them stays there."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from fcam_tf.names import shortened
from fcam_tf.photos import SUFFIXES

MAX_BYTES = 2**30  # of one photo
_ENDINGS = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
# What the readers raise; a RuntimeError where there is a password.
_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError, zlib.error, lzma.LZMAError),
)
_CHUNK = 2**20


def is_archive(path: Path) -> bool:
    """Tell by its name whether a file is an archive."""
    return path.name.lower().endswith(_ENDINGS)


def unpack(path: Path, folder: Path) -> int:
    """Write the photos of an archive below a folder, in the places that they have in it.

    Hidden files, links and devices are no photos, and no place is outside of the folder.

    Returns:
        How many there are.

    Raises:
        ValueError: there are none, one is above `MAX_BYTES`, the disk is too small for all, or the
            archive is damaged or has a password.
        OSError: a photo cannot be written.
    """
    count, rest = 0, shutil.disk_usage(folder).free
    try:
        for name, size, read in _members(path):
            rest -= size
            if size > MAX_BYTES or rest < 0:
                large = f"{shortened(name)} in it has {size >> 20} MB"
                raise ValueError(f"{large}, which is too much")
            place = folder / inside(name)
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as to, read() as source:
                copy(source, to, MAX_BYTES)
            count += 1
    except _DAMAGE as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the archive cannot be read: {text}") from None
    if not count:
        raise ValueError("there is no photo in this archive")
    return count


def copy(source: IO[bytes], to: IO[bytes], most: int) -> None:
    """Copy a file in pieces; raise a ValueError if it has more bytes than ``most``."""
    while piece := source.read(_CHUNK):
        if to.tell() + len(piece) > most:
            raise ValueError(f"it is larger than the {most >> 20} MB that are allowed")
        to.write(piece)


def inside(name: str) -> Path:
    """Return a relative path for a name with slashes, which leads out of no folder."""
    parts = [p for p in name.replace("\\", "/").split("/") if p not in ("", ".", "..")]
    return Path(*(part.replace(":", "_")[-200:] for part in parts))


def _members(path: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    """Yield name, size and reader of each photo in an archive; links and devices are no photos."""
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            for each in archive.infolist():
                if _is_photo(each.filename) and not each.is_dir():
                    yield each.filename, each.file_size, partial(archive.open, each)
        return
    with tarfile.open(path) as tar:
        for member in tar:
            if member.isfile() and _is_photo(member.name):
                yield member.name, member.size, partial(_extracted, tar, member)


def _extracted(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    found = tar.extractfile(member)
    if found is None:  # of what is no file
        raise tarfile.ReadError(f"{member.name} is not a file")
    return found


def _is_photo(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    hidden = any((p.startswith(".") and p != "..") or p == "__MACOSX" for p in path.parts)
    return not hidden and path.suffix.lower() in SUFFIXES
