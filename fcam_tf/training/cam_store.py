"""Coarse maps of a whole split, made once and kept: the paper's protocol for its teachers."""

from __future__ import annotations

import hashlib
import tokenize
import zlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fcam_tf.atomic import naming, replacing
from fcam_tf.cams.base import CAM, normalize
from fcam_tf.claim import claim
from fcam_tf.data import Split, evaluation_dataset, naming_photos
from fcam_tf.identity import stamps
from fcam_tf.refine import refine_maps

_ABOUT, _MAPS = "cams.json", "cams.npy"
_FORMAT = 2  # one record for each image; once it was an .npz file for every 64


def stored_cams(
    cam: CAM,
    split: Split,
    folder: str | Path,
    about: dict[str, Any],
    *,
    size: int = 224,
    stored_size: int = 64,
    refine: str | None = None,
    batch_size: int = 16,
    verbose: Any = "auto",
) -> NDArray[np.float16]:
    """Return the maps of the images of a split, from ``folder`` as far as they are there.

    Each map is that of the whole image, resized straight to a square, and of its true class (of
    the predicted one where the label is negative), normalised to [0, 1]. It has the resolution
    that the method gives it, 28 x 28 for the paper's backbones, or ``stored_size`` where that is
    less.

    The folder gets ``cams.json`` and ``cams.npy``, with one record for each image: a stamp of the
    image's file, the map and its checksum. Records are written as they are made: after a stop only
    what is missing is computed, and so is what was damaged or made of an image that has changed
    since (see `fcam_tf.identity`). Of several runs that share a folder one computes, and the others
    wait for it. 100,000 maps of 64 x 64 take 820 MB on the disk; in memory is what is being read.

    Args:
        cam: any method, the slow ones too.
        split: the images.
        folder: where maps are kept; made if it is not there.
        about: what the maps depend on besides the images' names, labels and sizes: a fingerprint
            of the model, the method and its options. JSON values.
        size: side of the square, in pixels.
        stored_size: largest side of a map that is kept; larger ones are scaled down.
        refine: "crf" to align maps with their images before they are kept, see `refine_maps`.
        batch_size: images for one call of the method.
        verbose: progress bar, as of ``fit``.

    Returns:
        (n, h, w) float16 in the order of the split, read from the file when it is used.

    Raises:
        SettingsChangedError: the folder holds maps of something else, or of an older version.
        OSError: the folder cannot be written to, or the disk is full; what was written stays.
    """
    folder = Path(folder)
    about = {
        "format": _FORMAT,
        **about,
        "size": size,
        "stored_size": stored_size,
        "images": hashlib.sha256("\n".join(split.ids).encode()).hexdigest(),
        "labels": hashlib.sha256(split.labels.tobytes()).hexdigest(),
    }
    held = [_MAPS, "cams-*.npz"]
    with claim(folder, about, held, file=_ABOUT, wait=True) as claimed, naming_photos(split):
        claimed.begin()
        path, marks = folder / _MAPS, stamps(split)
        missing = _missing(path, marks)
        progress = keras.utils.Progbar(len(split), verbose=int(verbose not in (0, "0")))
        progress.update(len(split) - len(missing))
        if missing.size:
            batches = evaluation_dataset(split.subset(missing), batch_size=batch_size, size=size)
            for number, (images, labels) in enumerate(batches):
                rows = missing[number * batch_size :][: len(images)]
                maps = np.asarray(cam(images, labels))
                if refine:
                    maps = np.asarray(normalize(refine_maps(maps, images)))
                _write(path, rows, marks, _at_most(stored_size, maps))
                progress.add(len(rows))
        return np.lib.format.open_memmap(path, mode="r")["map"]


def _missing(path: Path, marks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers of the images without a whole map of the file as it is now."""
    found = _records(path)
    if found is None or found.dtype.names != _kind((1, 1)).names or found.shape != marks.shape:
        return np.arange(len(marks))
    rows = enumerate(zip(found, marks, strict=True))
    return np.array(
        [
            row
            for row, (record, mark) in rows
            if record["stamp"] != mark or record["crc"] != zlib.crc32(record["map"].tobytes())
        ],
        np.int64,
    )


def _write(
    path: Path, rows: NDArray[np.int64], marks: NDArray[np.int64], maps: NDArray[np.float32]
) -> None:
    """Write maps to the records of their images; make the file if there is none that fits."""
    records = np.zeros(len(rows), _kind(maps.shape[1:]))
    records["stamp"], records["map"] = marks[rows], maps
    records["crc"] = [zlib.crc32(each.tobytes()) for each in records["map"]]
    found = _records(path)
    if found is None or (found.dtype, found.shape) != (records.dtype, marks.shape):
        with replacing(path) as part:
            found = np.lib.format.open_memmap(part, "w+", records.dtype, marks.shape)
    # Not through the memory map: a full disk would end the process without an error.
    with naming(path), path.open("r+b") as file:
        for row, record in zip(rows, records, strict=True):
            file.seek(found.offset + int(row) * records.itemsize)
            file.write(record.tobytes())


def _records(path: Path) -> np.memmap | None:
    """Return the records of a file; None where it is not there or cannot be read."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (FileNotFoundError, ValueError, SyntaxError, tokenize.TokenError):
        return None


def _kind(shape: tuple[int, ...]) -> np.dtype:
    return np.dtype([("stamp", "<i8"), ("crc", "<u4"), ("map", "<f2", shape)])


def _at_most(side: int, maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return maps (B, h, w), scaled down and stretched to [0, 1] again where they are larger."""
    size = tuple(min(n, side) for n in maps.shape[1:])
    if size == maps.shape[1:]:
        return maps
    return np.asarray(normalize(tf.image.resize(maps[..., None], size, antialias=True)[..., 0]))
