"""Writing files and folders whole or not at all."""

from __future__ import annotations

import contextlib
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
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a place to fill, which becomes ``folder`` if the block ends well, and else is removed.

    Args:
        folder: the folder to make; must not exist.

    Yields:
        An empty, hidden folder beside it.

    Raises:
        FileExistsError: ``folder`` exists.
        OSError: it cannot be made.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists; give a new folder or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield unfinished
        unfinished.chmod(0o755)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished)
        raise
