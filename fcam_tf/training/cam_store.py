"""Coarse maps of a whole split, made once and kept: the paper's protocol for its teachers."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from fcam_tf.cams.base import CAM, normalize
from fcam_tf.claim import claim
from fcam_tf.data import Split, evaluation_dataset, naming_photos
from fcam_tf.identity import stamps
from fcam_tf.refine import refine_maps
from fcam_tf.training.cam_file import fit, missing, write

ABOUT, MAPS = "cams.json", "cams.npy"
BATCH = 16  # images for one call of the method
_FORMAT = 2  # one record for each image; once it was an .npz file for every 64


@dataclasses.dataclass(frozen=True)
class Teacher:
    """How the maps that are stored are made.

    Attributes:
        cam: the method.
        about: see `stored_cams`, as the next are.
        size: side of the square that is shown to the method.
        stored_size: largest side of a map.
        refine: "crf" or None.
    """

    cam: CAM
    about: Mapping[str, Any]
    size: int = 224
    stored_size: int = 64
    refine: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What its maps depend on besides the images."""
        sizes = {"size": self.size, "stored_size": self.stored_size}
        return {"format": _FORMAT, **self.about, **sizes}

    def maps(self, images: ArrayLike, labels: ArrayLike) -> NDArray[np.float32]:
        """Return the maps of a batch, (B, h, w) in [0, 1], from (B, size, size, 3) in [0, 255]."""
        maps = np.asarray(self.cam(images, labels))
        if self.refine:
            maps = np.asarray(normalize(refine_maps(maps, images)))
        return _at_most(self.stored_size, maps)

    def batches(self, split: Split, batch_size: int = BATCH) -> Iterator[NDArray[np.float32]]:
        """Yield the maps of a split's images in their order, ``batch_size`` at a time.

        Raises:
            BrokenPhotoError: an image cannot be read.
        """
        with naming_photos(split):
            for images, labels in evaluation_dataset(split, batch_size=batch_size, size=self.size):
                yield self.maps(images, labels)


@contextlib.contextmanager
def claimed(
    teacher: Teacher, split: Split, folder: Path, *, compare: bool = False
) -> Iterator[dict[str, Any]]:
    """Have the folder of a split's maps, after another who writes to it.

    Args:
        teacher: what makes them.
        split: the images.
        folder: where; made if need be.
        compare: do nothing but refuse it where it is of something else.

    Yields:
        All that the maps depend on, but for the images' files; they are in the folder, too.

    Raises:
        SettingsChangedError: see `stored_cams`.
        OSError: the folder cannot be made or read.
    """
    settings = {
        **teacher.settings,
        "images": hashlib.sha256("\n".join(split.ids).encode()).hexdigest(),
        "labels": hashlib.sha256(split.labels.tobytes()).hexdigest(),
    }
    held = [MAPS, "cams-*.npz"]
    with claim(folder, settings, held, file=ABOUT, wait=True) as ours:
        if not compare:
            ours.begin()
        yield settings


def stored_cams(
    cam: CAM,
    split: Split,
    folder: str | Path,
    about: Mapping[str, Any],
    *,
    size: int = 224,
    stored_size: int = 64,
    refine: str | None = None,
    batch_size: int = BATCH,
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
    teacher = Teacher(cam, about, size, stored_size, refine)
    return store(teacher, split, folder, batch_size=batch_size, verbose=verbose)


def store(
    teacher: Teacher,
    split: Split,
    folder: str | Path,
    *,
    batch_size: int = BATCH,
    verbose: Any = "auto",
) -> NDArray[np.float16]:
    """Return the maps that a teacher makes of the images of a split, see `stored_cams`."""
    folder = Path(folder)
    with claimed(teacher, split, folder):
        path, marks = folder / MAPS, stamps(split)
        todo = missing(path, marks)
        progress = keras.utils.Progbar(len(split), verbose=int(verbose not in (0, "0")))
        progress.update(len(split) - len(todo))
        batches = teacher.batches(split.subset(todo), batch_size) if todo.size else ()
        for number, maps in enumerate(batches):
            rows = todo[number * batch_size :][: len(maps)]
            fit(path, len(split), maps.shape[1:])
            write(path, rows, marks[rows], maps)
            progress.add(len(rows))
        return np.lib.format.open_memmap(path, mode="r")["map"]


def _at_most(side: int, maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return maps (B, h, w), scaled down and stretched to [0, 1] again where they are larger."""
    size = tuple(min(n, side) for n in maps.shape[1:])
    if size == maps.shape[1:]:
        return maps
    return np.asarray(normalize(tf.image.resize(maps[..., None], size, antialias=True)[..., 0]))
