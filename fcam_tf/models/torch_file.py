"""Reading the tensors of a legacy PyTorch checkpoint without PyTorch and without running its code.

A pickle may call any function; this reader allows only the few that a dictionary of tensors needs.
"""

from __future__ import annotations

import collections
import io
import math
import pickle
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGE_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Storage(NamedTuple):
    """Names the numbers that tensors look at; a tuple, since a pickle could set attributes."""

    dtype: np.dtype
    key: str
    size: int


def _tensor(storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> tuple:
    return storage, offset, shape, strides


# The one in C sets aside memory for the largest memo index that the file names, up to 64 GiB.
class _TensorUnpickler(pickle._Unpickler):  # noqa: SLF001
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[name]
        raise pickle.UnpicklingError(
            f"the file asks for {module}.{name}, which a checkpoint of plain tensors does not need;"
            " it was not run"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, count, _view = pid
        if kind != "storage":
            raise pickle.UnpicklingError(f"unknown kind of stored object: {kind!r}")
        return self.storages.setdefault(key, _Storage(dtype, key, count))


def load_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Read a state dictionary of float32 and int64 tensors, as ``torch.save`` wrote it before 1.6.

    Raises:
        OSError: the file cannot be read.
        ValueError: it does not have this format, contains anything but tensors, or is truncated.
    """
    data = Path(path).read_bytes()
    try:
        return _read(io.BytesIO(data))
    except Exception as error:  # what garbage raises depends on where it first stumbles
        raise ValueError(
            f"`path` is not a readable legacy PyTorch checkpoint of plain tensors: {path} ({error})"
        ) from error


def _read(file: io.BytesIO) -> dict[str, np.ndarray]:
    """Read five pickles (magic number, protocol, system, tensors, keys) and the raw storages."""
    for expected in (_MAGIC, 1001):
        if _TensorUnpickler(file).load() != expected:
            raise pickle.UnpicklingError("the magic number is missing")
    _TensorUnpickler(file).load()  # system information
    unpickler = _TensorUnpickler(file)
    state = unpickler.load()
    values = {}
    for key in _TensorUnpickler(file).load():
        storage = unpickler.storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.size:
            raise EOFError(f"storage {key} holds {count} values instead of {storage.size}")
        data = file.read(count * storage.dtype.itemsize)
        values[key] = np.frombuffer(data, storage.dtype, count=storage.size)
    return {str(name): _view(values[t[0].key], *t[1:]) for name, t in state.items()}


def _view(values: np.ndarray, offset: int, shape: tuple, strides: tuple) -> np.ndarray:
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if min(offset, *shape, *strides, 0) < 0 or last >= len(values):
        raise pickle.UnpicklingError(f"a tensor of shape {shape} points outside its storage")
    if math.prod(shape) > len(values):  # a stride of 0 could ask for any amount of memory
        raise pickle.UnpicklingError(f"a tensor of shape {shape} is larger than its storage")
    steps = [step * values.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(values[offset:], shape, steps).copy()
