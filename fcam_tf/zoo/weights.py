"""The weights file of an entry, in safetensors: a header of names, types and shapes, then numbers.

There is one array for each variable, named by its layer and its position there. It is float16
(float32 if a value does not fit), or int8 for large kernels, with one scale for each output channel
in a second array. Reading takes names, shapes and types from the model, never from the file: a file
can be wrong, but not dangerous.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy

from fcam_tf.atomic import naming
from fcam_tf.zoo import hdf5

SCALE = "_scale"
_LARGE = 4096  # numbers; smaller arrays stay float16
_LONGEST = 2**20  # bytes of a header; one of 700 arrays takes 60 kB


def write_weights(
    model: keras.Model, path: str | Path, *, int8: bool = False, without: Collection[str] = ()
) -> None:
    """Write the weights of a model.

    Args:
        model: the model.
        path: the file.
        int8: whether to store large kernels in 8 bits, symmetric for each output channel.
            Everything else is float16, or float32 if a value does not fit.
        without: names of layers to leave out.

    Raises:
        ValueError: a weight is not finite.
        OSError: the file cannot be written.
    """
    stored: dict[str, np.ndarray] = {}
    for name, variable in _named(model, without).items():
        # safetensors takes the bytes as they lie.
        values = np.asarray(keras.ops.convert_to_numpy(variable), "float32", order="C")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} is not finite.")
        is_kernel = values.ndim > 1 and values.shape[-1] > 1
        if int8 and is_kernel and values.size >= _LARGE:
            scale = np.maximum(np.abs(values).max(axis=tuple(range(values.ndim - 1))), 1e-12)
            stored[name + SCALE] = (scale / 127).astype("float32")
            stored[name] = np.round(values / scale * 127).astype("int8")
        else:
            with np.errstate(over="ignore"):
                half = values.astype("float16")
            stored[name] = half if np.isfinite(half).all() else values
    with naming(Path(path)):
        Path(path).write_bytes(safetensors.numpy.save(stored))


def read_weights(model: keras.Model, path: str | Path, *, without: Collection[str] = ()) -> None:
    """Load the weights of a file into a model, all or none.

    Args:
        model: a model with the architecture that the file was written for.
        path: the file, in safetensors; for one more release also in HDF5, as in earlier entries.
        without: names of the layers that were left out.

    Raises:
        ValueError: it has neither format, is damaged, or contains anything but this model's
            weights.
        OSError: it cannot be read.
    """
    variables = _named(model, without)
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    scales = {name + SCALE: shape[-1:] for name, shape in shapes.items()}
    if hdf5.is_hdf5(path):
        stored = hdf5.read(path, shapes | scales)
    else:
        stored = _read(path, shapes | scales)
    values = {name: _value(stored, name, shape, path) for name, shape in shapes.items()}
    used = {*shapes, *(name + SCALE for name in shapes if stored[name].dtype == np.int8)}
    if extra := sorted({*stored} - used):
        raise ValueError(f"{path} holds weights of another model: {extra[0]!r} among them.")
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


def _read(path: str | Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Read the arrays of a file, which is no larger than one with these shapes can be."""
    most = 8 + _LONGEST + 4 * sum(map(math.prod, shapes.values()))  # float32 is the widest
    with Path(path).open("rb") as file:
        data = file.read(most + 1)
    header = int.from_bytes(data[:8], "little")
    if header > _LONGEST:
        raise ValueError(f"{path} is not of safetensors: its header would have {header} bytes.")
    if len(data) > most:
        raise ValueError(f"{path} has more than {most} bytes, which no file of this model has.")
    try:
        return safetensors.numpy.load(data)
    except KeyError as error:
        raise ValueError(f"{path} holds numbers of a kind that NumPy lacks: {error}.") from None
    except (safetensors.SafetensorError, ValueError) as error:  # NumPy's, of odd shapes
        raise ValueError(f"{path} holds no weights that can be read: {error}") from None


def _value(
    stored: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], path: str | Path
) -> np.ndarray:
    """Return the float32 values of a variable."""
    found = _checked(stored, name, shape, ("float16", "float32", "int8"), path)
    values = found.astype("float32")
    if found.dtype == np.int8:
        values *= _checked(stored, name + SCALE, shape[-1:], ("float32",), path)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} is not finite in {path}: the file is damaged.")
    return values


def _checked(
    stored: Mapping[str, np.ndarray],
    name: str,
    shape: tuple[int, ...],
    kinds: tuple[str, ...],
    path: str | Path,
) -> np.ndarray:
    found = stored.get(name)
    if found is None:
        raise ValueError(f"{path} lacks {name}: it is of another model.")
    if found.shape != shape or found.dtype.name not in kinds:
        raise ValueError(
            f"{name} must be {shape} of {' or '.join(kinds)} in {path}. Found: {found.shape} of "
            f"{found.dtype}."
        )
    return found
