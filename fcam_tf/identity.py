"""What results were made from, by content: of a file, a model, a data set and its images.

Where a model comes from a file, the file's SHA-256 is its identity, wherever the file lies; an
object in memory has that of its layers and weights. Images are told from others of the same name
by size and time of change, as make and rsync do, because reading them all takes too long; where
these differ, as in a copy, their bytes decide.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from fcam_tf.data.split import Split

BEST = "best.keras"
# Hashes of the files that define layers of models in this process; those of models hold them, too.
imported: list[str] = []
# Of a layer's configuration what its outputs do not depend on.
_NO_PART = ("name", "seed", "trainable", "dtype")


def saved_file(path: str | Path) -> Path:
    """Return the file that ``models.load`` reads.

    Args:
        path: a ``.keras`` file, or the folder of a training run.

    Raises:
        FileNotFoundError: there is no such file, or the run has not chosen a model yet.
    """
    path = Path(path)
    file = path / BEST if path.is_dir() else path
    if not file.is_file():
        what = f"no {BEST} in this folder" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"{path}: there is {what}.")
    return file


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def saved_sha256(path: str | Path) -> str:
    """Return a hash of a saved model: of its file, and of what was imported for it.

    Args:
        path: see `saved_file`, which also says what is raised.
    """
    found = file_sha256(saved_file(path))
    return hashlib.sha256(repr([found, *imported]).encode()).hexdigest() if imported else found


def weights_identity(weights: str) -> str:
    """Return what initial weights are known by: the SHA-256 of a file, or the name of others."""
    return file_sha256(weights) if Path(weights).is_file() else weights


def model_sha256(model: keras.Model, *more: Any, weights: bool = True) -> str:
    """Return a hash of a model in memory: of its layers and weights.

    Names do not count: Keras numbers layers anew in each process.

    Args:
        model: the model.
        more: what else counts.
        weights: whether they do.
    """
    digest = hashlib.sha256(repr((*more, *imported)).encode())
    for layer in model.layers:
        config = {k: v for k, v in layer.get_config().items() if k not in _NO_PART}
        digest.update(f"{type(layer).__name__} {json.dumps(config, default=str)}".encode())
    for weight in model.get_weights() if weights else ():
        digest.update(str(weight.shape).encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def split_sha256(*splits: Split, sizes: bool = False) -> str:
    """Return a hash of the names, labels and ground truth of the images of splits.

    Args:
        splits: of a data set.
        sizes: count those of the files of images and masks, too, in bytes.
    """
    digest = hashlib.sha256()
    for split in splits:
        digest.update("\n".join([split.name, *split.ids, *split.class_names]).encode())
        digest.update(split.labels.tobytes())
        digest.update(b"" if split.sizes is None else split.sizes.tobytes())
        for boxes in split.boxes or ():
            digest.update(boxes.tobytes() + b";")
        for index in range(len(split)):
            digest.update("\n".join(path.name for path in _masks(split, index)).encode() + b";")
        if sizes:
            files = [*split.paths, *(path for i in range(len(split)) for path in _masks(split, i))]
            digest.update(repr([(_stat(path) or (None,))[0] for path in files]).encode())
    return digest.hexdigest()


def stamps(split: Split, more: Sequence[Path] | None = None) -> NDArray[np.int64]:
    """Return what tells the files of each image from their replacements.

    Args:
        split: images, perhaps with masks.
        more: one more file of each image.

    Returns:
        (n,) hashes of sizes and times of change.
    """
    return np.array([_stamp(_files(split, i, more)) for i in range(len(split))], np.int64)


def times_sha256(*splits: Split) -> str:
    """Return a hash of the times of change of the files of splits, in which copies differ, too."""
    return hashlib.sha256(b"".join(stamps(split).tobytes() for split in splits)).hexdigest()


def contents(
    split: Split, marks: NDArray[np.int64], more: Sequence[Path] | None = None
) -> Callable[[int], int]:
    """Return what hashes the bytes of an image's files by its index, each once.

    Args:
        split: images, perhaps with masks.
        marks: what `stamps` gave before anything was read. Of files that have changed since, 0 is
            returned: who has read them may have seen other bytes.
        more: one more file of each image.
    """

    @functools.cache
    def content(index: int) -> int:
        files = _files(split, index, more)
        found = [file_sha256(file) if file.is_file() else None for file in files]
        return _number(repr(found)) if _stamp(files) == marks[index] else 0

    return content


def _files(split: Split, index: int, more: Sequence[Path] | None) -> list[Path]:
    return [split.paths[index], *_masks(split, index), *([more[index]] if more else [])]


def _stamp(files: Sequence[Path]) -> int:
    return _number(repr([_stat(file) for file in files]))


def _number(text: str) -> int:
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "little", signed=True)


def _stat(path: Path) -> tuple[int, int] | None:
    """Size in bytes and time of change in nanoseconds; None where there is no file, or no need."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _masks(split: Split, index: int) -> list[Path]:
    if split.masks is None:
        return []
    return [path for path in (*split.masks[index], split.ignores[index]) if path is not None]
