"""The file of stored maps: a record for each image, each whole or known not to be."""

from __future__ import annotations

import tokenize
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcam_tf.atomic import naming, replacing


def missing(path: Path, stamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers of the images without a whole map of the file as it is now.

    Args:
        path: the file; it need not exist.
        stamps: (n,) of the images, see `fcam_tf.identity.stamps`.
    """
    found = records_of(path)
    if found is None or found.dtype.names != _kind((1, 1)).names or found.shape != stamps.shape:
        return np.arange(len(stamps))
    rows = enumerate(zip(found, stamps, strict=True))
    return np.array(
        [
            row
            for row, (record, stamp) in rows
            if record["stamp"] != stamp or record["crc"] != zlib.crc32(record["map"].tobytes())
        ],
        np.int64,
    )


def fit(path: Path, number: int, shape: tuple[int, ...]) -> None:
    """Make the file if there is none for so many maps of this shape, (h, w).

    Raises:
        OSError: it cannot be made.
    """
    found, kind = records_of(path), _kind(shape)
    if found is None or (found.dtype, found.shape) != (kind, (number,)):
        with replacing(path) as part:
            np.lib.format.open_memmap(part, "w+", kind, (number,))


def write(
    path: Path, rows: NDArray[np.int64], stamps: NDArray[np.int64], maps: NDArray[np.float32]
) -> None:
    """Write maps to the records of their images.

    Args:
        path: a file that `fit` made.
        rows: (m,) numbers of the images.
        stamps: (m,) of theirs.
        maps: (m, h, w) in [0, 1].

    Raises:
        OSError: it cannot be written to, or is no such file any more.
    """
    records = np.zeros(len(rows), _kind(maps.shape[1:]))
    records["stamp"], records["map"] = stamps, maps
    records["crc"] = [zlib.crc32(each.tobytes()) for each in records["map"]]
    found = records_of(path)
    if found is None or found.dtype != records.dtype:
        raise FileNotFoundError(f"{path} is gone, or is of other maps now")
    # Not through the memory map: a full disk would end the process without an error.
    with naming(path), path.open("r+b") as file:
        for row, record in zip(rows, records, strict=True):
            file.seek(found.offset + int(row) * records.itemsize)
            file.write(record.tobytes())


def records_of(path: Path) -> np.memmap | None:
    """Return the records of a file; None where it is not there or cannot be read."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (FileNotFoundError, ValueError, SyntaxError, tokenize.TokenError):
        return None


def _kind(shape: tuple[int, ...]) -> np.dtype:
    return np.dtype([("stamp", "<i8"), ("crc", "<u4"), ("map", "<f2", shape)])
