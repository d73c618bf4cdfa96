"""Reading the tensors of a legacy PyTorch checkpoint without PyTorch and without running its code.

Such a file is five pickles in a row (magic number, protocol, system information, the state
dictionary, the storage keys) and then the raw storages. A pickle may call any function; the
reader here knows the few that a dictionary of tensors needs and refuses all others.
"""

from __future__ import annotations

import collections
import pickle
import struct
from pathlib import Path
from typing import IO, Any

import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C
# What unpickling raises on garbage, depending on where it first stumbles.
_MALFORMED = (
    pickle.UnpicklingError,
    struct.error,
    EOFError,
    TypeError,
    AttributeError,
    ValueError,
    LookupError,
    OverflowError,
    MemoryError,
)
_STORAGE_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Storage:
    """The bytes that one or more tensors look at, filled in after the pickles were read."""

    def __init__(self, dtype: np.dtype, count: int) -> None:
        self.dtype = dtype
        self.count = count
        self.values: np.ndarray | None = None


def _tensor(storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> tuple:
    return storage, offset, shape, strides


class _TensorUnpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes]) -> None:
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
        return self.storages.setdefault(key, _Storage(dtype, count))


def load_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Read a legacy ``.pth`` state dictionary.

    Args:
        path: a file written by ``torch.save`` in its format before version 1.6.

    Returns:
        Tensor name -> array, in the order of the file. float32 and int64 tensors only.

    Raises:
        ValueError: the file is not of this format, holds anything but tensors, or is cut short.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _read(file)
    except _MALFORMED as error:
        raise ValueError(
            f"`path` is not a readable legacy PyTorch checkpoint of plain tensors: {path} ({error})"
        ) from error


def _read(file: IO[bytes]) -> dict[str, np.ndarray]:
    for expected in (_MAGIC, 1001):
        if _TensorUnpickler(file).load() != expected:
            raise pickle.UnpicklingError("the magic number is missing")
    _TensorUnpickler(file).load()  # system information
    unpickler = _TensorUnpickler(file)
    state = unpickler.load()
    for key in _TensorUnpickler(file).load():
        storage = unpickler.storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.count:
            raise EOFError(f"storage {key} holds {count} values instead of {storage.count}")
        data = file.read(count * storage.dtype.itemsize)
        storage.values = np.frombuffer(data, storage.dtype, count=count)
    return {name: _view(*tensor) for name, tensor in state.items()}


def _view(storage: _Storage, offset: int, shape: tuple, strides: tuple) -> np.ndarray:
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if min(offset, *shape, *strides, 0) < 0 or last >= storage.count:
        raise pickle.UnpicklingError(f"a tensor of shape {shape} points outside its storage")
    steps = [step * storage.dtype.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(storage.values[offset:], shape, steps).copy()
