"""What a folder holds, so that it can be compared and torn files be found."""

import csv
import io
import itertools
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image
from safetensors import numpy as safetensors

_TOLERANCE = 1e-5  # relative, of numbers: sums may be made in another order
_VOLATILE = "model_sha256"  # of a .keras file, which holds the time
_LOGS = "logs"  # of TensorBoard: they are appended to, with the time


def files(folder: Path) -> Iterator[Path]:
    """Yield the files that a reader sees: see `_unfinished` for the others."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and _LOGS not in name.parts and not _unfinished(name):
            yield path


def _unfinished(name: Path) -> bool:
    """Tell whether a file is hidden or in a hidden folder, or is a download that goes on later."""
    return any(part.startswith(".") or part.endswith(".part") for part in name.parts)


def hidden(folder: Path) -> list[str]:
    """Return the names of what was left of unfinished work, but for folders without a file.

    Such a one stays where a process is killed between giving a file its name and removing the
    folder that it was made in, and the file is never written again.
    """
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [str(name) for name in names if _unfinished(name)]


def contents(folder: Path) -> dict[str, Any]:
    """Return what each file says: numbers and texts where the format has times or orders."""
    return {str(path.relative_to(folder)): _read(path) for path in files(folder)}


def damaged(folder: Path) -> list[str]:
    """Return the names of visible files that are not whole, and why."""
    found = []
    for path in files(folder):
        try:
            _read(path)
        except Exception as error:  # noqa: BLE001 - whatever a torn file makes of its reader
            found.append(f"{path.relative_to(folder)}: {error}")
    return found


def differences(wanted: Any, got: Any, where: str = "") -> list[str]:
    """Say where two contents differ, numbers by more than rounding."""
    if isinstance(wanted, Mapping) and isinstance(got, Mapping):
        names = [*wanted, *(name for name in got if name not in wanted)]
        pairs = [(name, wanted.get(name), got.get(name)) for name in names]
    elif isinstance(wanted, list) and isinstance(got, list):
        pairs = [(n, *each) for n, each in enumerate(itertools.zip_longest(wanted, got))]
    else:
        return [] if _same(wanted, got) else [f"{where}: {wanted!r:.80} and {got!r:.80}"]
    return [text for name, a, b in pairs for text in differences(a, b, f"{where}/{name}")]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return bool(np.isclose(a, b, _TOLERANCE, 1e-7, equal_nan=True))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.shape != b.shape or a.dtype.kind != "f":
            return np.array_equal(a, b)
        return np.allclose(a, b, _TOLERANCE, 1e-6, equal_nan=True)
    return type(a) is type(b) and bool(np.all(a == b))


def _read(path: Path) -> Any:
    data = path.read_bytes()
    if path.name == "variables.index":
        return _checkpoint(path)
    reader = _READERS.get(path.suffix)
    return reader(data) if reader and data else data


def _jsonl(data: bytes) -> list[Any]:
    # A line that a kill tore is no record yet: who reads the file leaves it out.
    *lines, _ = data.split(b"\n")
    return sorted((json.loads(line) for line in lines), key=str)


def _csv(data: bytes) -> list[list[Any]]:
    def number(text: str) -> Any:
        try:
            return float(text)
        except ValueError:
            return text

    return [[number(cell) for cell in row] for row in csv.reader(io.StringIO(data.decode()))]


def _h5(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with h5py.File(io.BytesIO(data)) as file:
        file.visititems(
            lambda name, item: (
                found.update({name: np.asarray(item[()])})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    return found


def _keras(data: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {
            name: _READERS[Path(name).suffix](file.read(name))
            for name in file.namelist()
            if name != "metadata.json"  # when it was saved
        }


def _picture(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def _checkpoint(path: Path) -> dict[str, Any]:
    """The tensors of a SavedModel; how they are numbered differs from one export to the next."""
    import tensorflow as tf  # noqa: PLC0415 - the other formats need none

    reader = tf.train.load_checkpoint(str(path.with_suffix("")))
    names = [name for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name]
    tensors = sorted((np.asarray(reader.get_tensor(name)) for name in names), key=_order)
    return {str(number): tensor for number, tensor in enumerate(tensors)}


def _order(tensor: np.ndarray) -> tuple[Any, ...]:
    return tensor.shape, str(tensor.dtype), tensor.tobytes()


def _signatures(data: bytes) -> list[str]:
    from tensorflow.core.protobuf import saved_model_pb2  # noqa: PLC0415 - as above

    graphs = saved_model_pb2.SavedModel.FromString(data).meta_graphs
    return sorted(name for graph in graphs for name in graph.signature_def)


def _json(data: bytes) -> Any:
    return json.loads(data, object_hook=lambda each: {**each, _VOLATILE: ""})


_READERS = {
    ".json": _json,
    ".html": lambda data: re.sub(rb"\b[0-9a-f]{64}\b", b"", data),
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".h5": _h5,
    ".safetensors": safetensors.load,
    ".weights": safetensors.load,
    ".keras": _keras,
    ".pb": lambda data: _signatures(data) if len(data) > 1000 else None,  # else a fingerprint
    ".data-00000-of-00001": lambda _: None,  # read with its index
    ".png": _picture,
    ".jpg": _picture,
    ".npy": lambda data: np.load(io.BytesIO(data)),
    ".npz": lambda data: dict(np.load(io.BytesIO(data))),
}
