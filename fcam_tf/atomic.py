"""Writing a file whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that no reader ever sees a part of it.

    The bytes go to a hidden neighbour first, which then takes the place of ``path`` in one step.
    A process killed in between leaves ``path`` as it was; the neighbour's name is always the same,
    so the next attempt overwrites it.

    Args:
        path: the file to write or replace; its folder exists.
        data: the whole content.

    Raises:
        OSError: the folder cannot be written to, or the disk is full; ``path`` is untouched.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
