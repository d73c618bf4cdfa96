"""Weights files in HDF5, from earlier entries: read for one more release, then removed.

HDF5 has links that may lead into other files, external storage, and chunks that unpack to more
memory than there is. All of that is refused here. So is any other layout than the one that was
written: the library takes the length of a chunk from the file, and reads and writes beyond its
memory where that is not the chunk's own (CVE-2025-44904, mended after HDF5 2.0). Nor does it notice
a tree that contains itself (CVE-2025-6857), or a list that does.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

FILE = "model.weights.h5"
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_KINDS = ("float16", "float32", "int8")
_PACKING = [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]  # what was written, in order
_NONE = b"\xff" * 8  # no address
# Version 0 of the format, with addresses and sizes of 8 bytes, and the sizes of nodes of trees.
_BEGIN = _SIGNATURE + bytes((0, 0, 0, 0, 0, 8, 8, 0, 4, 0, 16, *bytes(13))) + _NONE


def is_hdf5(path: str | Path) -> bool:
    """Tell whether a file begins like HDF5; a safetensors file cannot.

    Raises:
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


def read(path: str | Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Read the arrays of a file.

    Args:
        path: the file.
        shapes: the shape of each array that may be in the file, by name; not all need to be.

    Raises:
        ValueError: the file cannot be read, or contains anything else.
    """
    try:
        _check_structure(Path(path).read_bytes())
        with h5py.File(path, "r", locking=False) as file:  # where a file system has no locks
            return {
                name: _numbers(dataset, name, shapes[name])
                for name, dataset in _datasets(file, shapes)
            }
    # TypeError: of kinds without a name; UnicodeDecodeError: of names that are no text; zlib's: of
    # what was not packed as it says.
    except (OSError, KeyError, RuntimeError, TypeError, UnicodeDecodeError, zlib.error) as error:
        raise ValueError(f"{path} holds no weights that can be read: {error}") from None


def _number(content: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(content[at : at + size], "little")


def _check_structure(content: bytes) -> None:
    """Refuse what HDF5 would follow without end, until stack or memory are used up.

    All nodes of trees and all heaps are found by their signatures, as HDF5 takes none without.
    """
    if content[:40] != _BEGIN or content[48:56] != _NONE:
        raise OSError("it does not begin as files of weights do")
    for found in re.finditer(rb"HEAP\0", content):
        free, names = (_number(content, found.start() + offset) for offset in (16, 24))
        if free != 1 and _number(content, names + free) != 1:  # which ends the list
            raise OSError("more than one part of a heap is free")
    for found in re.finditer(rb"TREE[\0\1]", content):
        node = found.start()
        kind, level = content[node + 4 : node + 6].ljust(2, b"\0")
        below = b"TREE" + bytes((kind, max(level - 1, 0)))
        if kind == 0 and level:  # of a group, whose children are 16 bytes apart
            children = range(node + 32, node + 32 + 16 * _number(content, node + 6, 2), 16)
            whole = all(content.startswith(below, _number(content, c)) for c in children)
        elif level == 1:  # of chunks: only a dataset knows of it, so no node does
            place = node.to_bytes(8, "little")
            whole = content.find(place) == content.rfind(place)
        else:
            whole = level == 0
        if not whole:
            raise OSError("a tree may contain itself")


def _datasets(
    group: h5py.Group, expected: Collection[str], at: str = ""
) -> Iterator[tuple[str, Any]]:
    """Walk through plain groups only: a link could lead into another file.

    Only groups on the way to an expected name are entered: others may lead to one group by so many
    paths that walking them never ends.
    """
    where = group.file.filename
    for key in group:
        name = f"{at}{key}"
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise ValueError(  # noqa: TRY004 - the file is wrong, not an argument's type
                f"{name} is a link in {where}, which is refused."
            )
        inner = group[key]
        if name in expected:
            yield name, inner
        elif isinstance(inner, h5py.Group) and any(e.startswith(f"{name}/") for e in expected):
            yield from _datasets(inner, expected, f"{name}/")
        else:
            raise ValueError(f"{where} holds weights of another model: {name!r} among them.")


def _numbers(dataset: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    where = dataset.file.filename
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise ValueError(f"{name} holds no numbers of its own in {where}.")
    # Before anything is read: what a file promises to unpack to is bounded by the model.
    if dataset.shape != shape or dataset.dtype.name not in _KINDS:
        raise ValueError(
            f"{name} must be {shape} of {' or '.join(_KINDS)} in {where}. Found: {dataset.shape} "
            f"of {dataset.dtype}."
        )
    _check_packing(dataset, name)
    return np.asarray(dataset[()])


def _check_packing(dataset: Any, name: str) -> None:
    """Refuse all but chunks that are packed as weights were, and unpack to just their size."""
    where = dataset.file.filename
    settings = dataset.id.get_create_plist()
    filters = [settings.get_filter(i)[0] for i in range(settings.get_nfilters())]
    if dataset.chunks is None or filters != _PACKING:
        raise ValueError(f"{name} is not packed in {where} by shuffle and gzip, as weights were.")
    # Memory is taken by the chunk, so that one larger than the dataset counts as well.
    if any(chunk > side for chunk, side in zip(dataset.chunks, dataset.shape, strict=True)):
        raise ValueError(
            f"{name} is in chunks of {dataset.chunks} in {where}, which is larger than "
            f"{dataset.shape}, all of it."
        )
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    chunks: list[Any] = []
    dataset.id.chunk_iter(chunks.append)
    for chunk in chunks:
        if chunk.size > 2 * size + 64:  # gzip adds far less to what it cannot pack
            raise ValueError(
                f"{name} has a chunk of {chunk.size} bytes in {where}, for {size} bytes of numbers."
            )
        # Takes as much memory as it reads only where there are filters.
        skipped, content = dataset.id.read_direct_chunk(chunk.chunk_offset)
        if not skipped >> _PACKING.index(h5py.h5z.FILTER_DEFLATE) & 1:
            content = zlib.decompressobj().decompress(content, size + 1)
        if len(content) != size:
            more = "more" if len(content) > size else "less"
            raise ValueError(f"{name} unpacks to {more} than {size} bytes a chunk in {where}.")
