"""The weights file of an entry: HDF5 with numbers in it, and nothing else that could do harm.

One dataset for each variable, named by its layer and its place there: float16 (float32 where that
is too narrow), or for large kernels int8 with one scale for each output channel in a dataset beside
it. Reading takes names, shapes and kinds of numbers from the model, never from the file: a file can
be wrong, but not dangerous.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from fcam_tf.atomic import naming

SCALE = "_scale"
_LARGE = 4096  # numbers; smaller arrays stay float16
_PACKING = [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]  # what `_store` asks for, in order


def write_weights(
    model: keras.Model, path: str | Path, *, int8: bool = False, without: Collection[str] = ()
) -> None:
    """Write the weights of a model.

    Args:
        model: the model.
        path: the file.
        int8: store large kernels in 8 bits, symmetric for each output channel; everything else,
            and without it everything, is float16, or float32 where a value does not fit.
        without: names of layers to leave out.

    Raises:
        ValueError: a weight is not finite.
        OSError: the file cannot be written.
    """
    memory = io.BytesIO()  # HDF5 may end the process where the disk is full
    with h5py.File(memory, "w") as file:
        for name, variable in _named(model, without).items():
            values = np.asarray(keras.ops.convert_to_numpy(variable), "float32")
            if not np.isfinite(values).all():
                raise ValueError(f"{name} is not finite.")
            is_kernel = values.ndim > 1 and values.shape[-1] > 1
            if int8 and is_kernel and values.size >= _LARGE:
                scale = np.maximum(np.abs(values).max(axis=tuple(range(values.ndim - 1))), 1e-12)
                _store(file, name + SCALE, (scale / 127).astype("float32"))
                values = np.round(values / scale * 127).astype("int8")
            else:
                with np.errstate(over="ignore"):
                    half = values.astype("float16")
                values = half if np.isfinite(half).all() else values
            _store(file, name, values)
    with naming(Path(path)):
        Path(path).write_bytes(memory.getbuffer())


def read_weights(model: keras.Model, path: str | Path, *, without: Collection[str] = ()) -> None:
    """Put the weights of a file into a model, all or none.

    Args:
        model: of the architecture that the file was written for.
        path: the file.
        without: names of the layers that were left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, is not HDF5, or holds anything but this model's weights.
    """
    variables = _named(model, without)
    try:
        with h5py.File(path, "r", locking=False) as file:  # where a file system has no locks
            values = {n: _read(file, n, tuple(v.shape)) for n, v in variables.items()}
            scales = {name + SCALE for name in variables if file[name].dtype == np.int8}
            extra = _unexpected(file, {*variables, *scales})
    except FileNotFoundError:
        raise
    # TypeError: of kinds without a name; zlib's: of what was not packed as it says.
    except (OSError, KeyError, RuntimeError, TypeError, zlib.error) as error:
        raise ValueError(f"{path} holds no weights that can be read: {error}") from None
    if extra is not None:
        raise ValueError(f"{path} holds weights of another model: {extra!r} among them.")
    for name, variable in variables.items():
        variable.assign(values[name])


def _named(model: keras.Model, without: Collection[str]) -> dict[str, Any]:
    """Name all weights; Keras's own paths may hold counters of what was built before."""
    return {
        f"{layer.name}/{i}": variable
        for layer in model.layers
        if layer.name not in without
        for i, variable in enumerate(layer.weights)
    }


def _store(file: h5py.File, name: str, values: np.ndarray) -> None:
    compression = {"compression": "gzip", "shuffle": True} if values.ndim else {}
    file.create_dataset(name, data=values, **compression)


def _read(file: h5py.File, name: str, shape: tuple[int, ...]) -> np.ndarray:
    dataset = _dataset(file, name, shape, ("float16", "float32", "int8"))
    values = dataset[()].astype("float32")
    if dataset.dtype == np.int8:
        values *= _dataset(file, name + SCALE, shape[-1:], ("float32",))[()]
    if not np.isfinite(values).all():
        raise ValueError(f"{name} is not finite in {file.filename}: the file is damaged.")
    return values


def _unexpected(group: h5py.Group, expected: Collection[str], at: str = "") -> str | None:
    """Return a name that is not expected, following no links, or None.

    Only groups on the way to an expected name are entered: others may lead to one group by so many
    paths that walking them never ends.
    """
    for key in group:
        name = f"{at}{key}"
        plain = isinstance(group.get(key, getlink=True), h5py.HardLink)
        inner = group[key] if plain else None
        on_the_way = any(other.startswith(f"{name}/") for other in expected)
        if isinstance(inner, h5py.Group) and on_the_way:
            found = _unexpected(inner, expected, f"{name}/")
        else:
            found = None if name in expected else name
        if found is not None:
            return found
    return None


def _dataset(file: h5py.File, name: str, shape: tuple[int, ...], dtypes: tuple[str, ...]) -> Any:
    """Walk to a dataset through plain groups only: a link could lead into another file."""
    node: Any = file
    for part in name.split("/"):
        if not isinstance(node, h5py.Group) or part not in node:
            raise ValueError(f"{file.filename} lacks {name}: it is of another model.")
        if not isinstance(node.get(part, getlink=True), h5py.HardLink):
            raise ValueError(  # noqa: TRY004 - the file is wrong, not an argument's type
                f"{name} is a link in {file.filename}, which is refused."
            )
        node = node[part]
    if not isinstance(node, h5py.Dataset) or node.is_virtual or node.external:
        raise ValueError(f"{name} holds no numbers of its own in {file.filename}.")
    # Before anything is read: what a file promises to unpack to is bounded by the model.
    if node.shape != shape or node.dtype.name not in dtypes:
        raise ValueError(
            f"{name} must be {shape} of {' or '.join(dtypes)} in {file.filename}. Found: "
            f"{node.shape} of {node.dtype}."
        )
    if node.chunks is not None:
        _check_packing(node, name)
    return node


def _check_packing(dataset: Any, name: str) -> None:
    """Refuse chunks that unpack to more than their size, as HDF5 gives them memory without end."""
    # Memory is taken by the chunk, so that one larger than the dataset counts as well.
    if any(chunk > side for chunk, side in zip(dataset.chunks, dataset.shape, strict=True)):
        raise ValueError(
            f"{name} is in chunks of {dataset.chunks} in {dataset.file.filename}, which is larger "
            f"than {dataset.shape}, all of it."
        )
    settings = dataset.id.get_create_plist()
    filters = [settings.get_filter(i)[0] for i in range(settings.get_nfilters())]
    if filters not in ([], _PACKING):
        raise ValueError(
            f"{name} is packed in {dataset.file.filename} by other filters than shuffle and gzip."
        )
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    chunks: list[Any] = []
    dataset.id.chunk_iter(chunks.append)
    for chunk in chunks:
        skipped, content = dataset.id.read_direct_chunk(chunk.chunk_offset)
        packed = bool(filters) and not skipped >> _PACKING.index(h5py.h5z.FILTER_DEFLATE) & 1
        if packed:
            content = zlib.decompressobj().decompress(content, size + 1)
        if len(content) > size:
            raise ValueError(f"{name} unpacks to more than {size} bytes a chunk: refused.")
