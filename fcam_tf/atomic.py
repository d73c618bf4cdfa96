"""Writing files and folders whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place to write a file to, which becomes ``path`` in one step if the block ends well.

    It is a hidden neighbour with the same ending. A process killed in between leaves ``path`` as
    it was; the neighbour's name is always the same, so the next attempt overwrites it.

    Args:
        path: the file to write or replace; its folder exists.

    Yields:
        Where to write.
    """
    part = path.with_name(f".part.{path.name}")
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that no reader ever sees a part of it, see `replacing`.

    Args:
        path: the file to write or replace; its folder exists.
        data: the whole content.

    Raises:
        OSError: the folder cannot be written to, or the disk is full; ``path`` is untouched.
    """
    with replacing(path) as part:
        part.write_bytes(data)


@contextlib.contextmanager
def new_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give a place to fill, which becomes ``folder`` if the block ends well, and else is removed.

    What a killed process left of the same folder is removed first. Of two who make it at once, the
    first to end wins, and the other is refused then.

    Args:
        folder: the folder to make.
        replace: let it take the place of a folder that is there, once it is complete.

    Yields:
        An empty, hidden folder beside it.

    Raises:
        FileExistsError: ``folder`` exists, and ``replace`` is False.
        OSError: it cannot be made.
    """
    if folder.exists() and not replace:
        raise _exists(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _unfinished(folder) as unfinished:
        try:
            yield unfinished
            unfinished.chmod(0o755)
            before = Path(f"{unfinished}.before")
            if replace and folder.exists():
                folder.rename(before)
            try:
                unfinished.rename(folder)
            except OSError:
                if folder.exists():
                    raise _exists(folder) from None
                raise
            shutil.rmtree(before, ignore_errors=True)
        except BaseException:
            shutil.rmtree(unfinished)
            raise


def _exists(folder: Path) -> FileExistsError:
    return FileExistsError(f"{folder} exists; give a new folder or remove it")


@contextlib.contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """Make a hidden neighbour, which is locked until the block ends, and remove those left."""
    prefix = f".part.{folder.name}."
    with contextlib.ExitStack() as until_done:
        # Makers take turns here, or one might remove what another has not locked yet.
        with _locked(folder.parent, fcntl.LOCK_EX) as alone:
            if alone:
                for left in folder.parent.glob(f"{glob.escape(prefix)}*"):
                    with _locked(left, fcntl.LOCK_EX | fcntl.LOCK_NB) as abandoned:
                        if abandoned:
                            shutil.rmtree(left, ignore_errors=True)
            made = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
            until_done.enter_context(_locked(made, fcntl.LOCK_EX))
        yield made


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[bool]:
    """Lock a folder; false where another has it, it is gone, or folders cannot be locked."""
    with contextlib.ExitStack() as opened:
        try:
            # The folder itself, as a file would stay; a process that ends lets go of it.
            descriptor = os.open(folder, os.O_RDONLY)
            opened.callback(os.close, descriptor)
            fcntl.flock(descriptor, how)
        except OSError:
            locked = False
        else:
            locked = True
        yield locked
