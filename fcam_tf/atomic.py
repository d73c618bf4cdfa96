"""Writing files and folders whole or not at all, and locking folders."""

from __future__ import annotations

import contextlib
import csv
import ctypes
import errno
import fcntl
import fnmatch
import io
import json
import os
import shutil
import tempfile
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place to write a file to, which becomes ``path`` in one step if the block ends well.

    It has the same name, in a hidden folder of its own beside ``path``. Of several that write at
    once the last to end wins. A process killed in between leaves ``path`` as it was; the next that
    writes it removes what was left.

    Args:
        path: the file to write or replace; its folder exists.

    Yields:
        Where to write.

    Raises:
        IsADirectoryError: ``path`` is a folder; before the work begins.
        OSError: it cannot be written.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    with _unfinished(path) as place, naming(path):
        yield place / path.name
        (place / path.name).replace(path)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Make an OSError that names no file, as that of a full disk, name ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno and not error.filename:  # else its text would go
            error.filename = str(path)
        raise


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write ``data`` to ``path`` so that no reader ever sees a part of it, see `replacing`.

    Args:
        path: the file to write or replace; its folder exists.
        data: the whole content.

    Raises:
        OSError: the folder cannot be written to, or the disk is full; ``path`` is untouched.
    """
    with replacing(path) as part:
        part.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write a value of JSON's kinds (no NaN) as `write_atomically` does."""
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows under all their keys as `write_atomically` does; None and missing is empty."""
    rows = list(rows)
    text = io.StringIO()
    columns = dict.fromkeys(key for row in rows for key in row)
    writer = csv_writer(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def csv_writer(file: IO[str], columns: Iterable[str]) -> csv.DictWriter:
    """Return a writer of rows, dicts by ``columns``, whose lines end in a line feed.

    A carriage return in a file's name is quoted. The library's writer quotes only what its own
    lines end in, and readers take each for the end of a line.
    """
    lines = types.SimpleNamespace(write=lambda row: file.write(row.removesuffix("\r\n") + "\n"))
    return csv.DictWriter(lines, list(columns), lineterminator="\r\n")


@contextlib.contextmanager
def new_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give a place to fill, which becomes ``folder`` if the block ends well, and else is removed.

    What killed processes left beside it is removed first. Of two who make it at once, the first to
    end wins, and the other is refused then.

    Args:
        folder: the folder to make.
        replace: let it take the place of a folder that is there, once it is complete.

    Yields:
        An empty, hidden folder near it.

    Raises:
        FileExistsError: ``folder`` exists, and ``replace`` is False.
        OSError: it cannot be made.
    """
    if folder.exists() and not replace:
        raise _exists(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder.parent)
    with _unfinished(folder) as place:
        yield place
        place.chmod(0o755)
        if replace and _exchanged(place, folder):
            return
        before = place.with_name(f"{place.name}.before")
        if replace and folder.exists():
            folder.rename(before)
        try:
            place.rename(folder)
        except OSError:
            if before.exists():
                before.rename(folder)
            elif folder.exists():
                raise _exists(folder) from None
            raise
        shutil.rmtree(before, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Swap the names of two folders in one step; False where one is missing, or it cannot be done.

    Python has no function for it. With two renames there is a moment without either folder, and who
    is killed then leaves none.
    """
    swap = getattr(ctypes.CDLL(None), "renameat2", None)  # of Linux
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE
    return swap is not None and not swap(here, os.fsencode(one), here, os.fsencode(other), exchange)


def _exists(folder: Path) -> FileExistsError:
    return FileExistsError(f"{folder} exists; give a new folder or remove it")


@contextlib.contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """Make ``.NAME.part/RANDOM`` beside a path, locked until the block ends, and remove it then.

    Those of killed processes, which nobody locks any more, are removed first.
    """
    parts = unfinished(path)
    with contextlib.ExitStack() as until_done:
        place = None
        while place is None or not place.exists():  # another's cleaning may have been quicker
            until_done.close()
            with contextlib.suppress(FileExistsError):
                parts.mkdir()
            with contextlib.suppress(FileNotFoundError):
                place = Path(tempfile.mkdtemp(dir=parts))
                until_done.enter_context(locked(place, wait=True))
        try:
            _remove_abandoned(parts)
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)
            with contextlib.suppress(OSError):  # another is at it, too
                parts.rmdir()


def unfinished(path: Path) -> Path:
    """Return the hidden folder in which a file or folder is made before it has its name."""
    return path.with_name(f".{path.name}.part")


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes have left unfinished in a folder, whatever it was to become.

    `replacing` looks for what it writes itself alone: it would list the folder for each file.
    """
    for parts in folder.glob(".*.part"):
        if parts.is_dir() and not parts.is_symlink():
            with contextlib.suppress(OSError):  # it is in use, or not ours
                _remove_abandoned(parts, "tmp" + 8 * "?")  # as `tempfile` calls them
                parts.rmdir()


def _remove_abandoned(parts: Path, names: str = "*") -> None:
    for left in list(parts.iterdir()):
        if not fnmatch.fnmatch(left.name, names):
            continue
        with contextlib.suppress(OSError), locked(left) as alone:
            if alone:
                shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Lock a folder until the block ends, or the process, however it does.

    The folder itself is locked, as a file would stay. Blocks do not nest, within a process either.

    Args:
        folder: the folder.
        wait: for another to unlock it.

    Yields:
        Whether it is locked. False on a network file system that has no locks, where the work goes
        on without.

    Raises:
        BlockingIOError: another has locked it, and ``wait`` is False.
        OSError: it cannot be read.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            alone = True
        except BlockingIOError:
            raise
        except OSError:
            alone = False
        yield alone
    finally:
        os.close(descriptor)
