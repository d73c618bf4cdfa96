"""Coarse maps of a whole split, made once and kept: the paper's protocol for its teachers."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fcam_tf.atomic import replacing
from fcam_tf.cams.base import CAM
from fcam_tf.claim import claim
from fcam_tf.data import Split, evaluation_dataset, naming_photos
from fcam_tf.identity import stamps

_ABOUT = "cams.json"
_SHARD = 64


def stored_cams(
    cam: CAM,
    split: Split,
    folder: str | Path,
    about: dict[str, Any],
    *,
    size: int = 224,
    batch_size: int = 16,
    verbose: Any = "auto",
) -> np.ndarray:
    """Return the maps of the images of a split, from ``folder`` as far as they are there.

    Each map is that of the whole image, resized straight to a square, and of its true class (of
    the predicted one where the label is negative), normalised to [0, 1]. It keeps the resolution
    that the method gives it: 28 x 28 for the paper's backbones and 224 x 224 pixels.

    The folder gets ``cams.json`` and one .npz file for every 64 images, each written whole or
    not at all: after a stop only what is missing is computed, and what was made of an image that
    has changed since (see `fcam_tf.identity`). Of several runs that share a folder
    one computes, and the others wait for it.

    Args:
        cam: any method, the slow ones too.
        split: the images.
        folder: where maps are kept; made if it is not there.
        about: what the maps depend on besides the images' names, labels and ``size``: a
            fingerprint of the model, the method. JSON values.
        size: side of the square, in pixels.
        batch_size: images for one call of the method.
        verbose: progress bar, as of ``fit``.

    Returns:
        (n, h, w) float16, in the order of the split.

    Raises:
        SettingsChangedError: the folder holds maps of something else.
        OSError: the folder cannot be written to, or the disk is full; what was written stays.
    """
    folder = Path(folder)
    ids = hashlib.sha256("\n".join(split.ids).encode())
    labels = hashlib.sha256(split.labels.tobytes())
    about = {**about, "size": size, "images": ids.hexdigest(), "labels": labels.hexdigest()}
    with claim(folder, about, ["*.npz"], file=_ABOUT, wait=True) as claimed, naming_photos():
        claimed.begin()
        progress = keras.utils.Progbar(len(split), verbose=int(verbose not in (0, "0")))
        maps = []
        for start in range(0, len(split), _SHARD):
            path = folder / f"cams-{start // _SHARD:05}.npz"
            part = split.subset(range(start, min(start + _SHARD, len(split))))
            marks = stamps(part)
            found = _read(path, part.ids, marks)
            if found is None:
                batches = evaluation_dataset(part, batch_size=batch_size, size=size)
                found = np.concatenate([np.asarray(cam(x, y), np.float16) for x, y in batches])
                with replacing(path) as whole:
                    np.savez(whole, ids=part.ids, stamps=marks, maps=found)
            maps.append(found)
            progress.add(len(part))
        return np.concatenate(maps)


def _read(path: Path, ids: Sequence[str], marks: np.ndarray) -> np.ndarray | None:
    """Return the maps of a shard; None where it is not there, damaged, or of other images."""
    try:
        with path.open("rb") as file, np.load(file) as found:
            if np.array_equal(found["ids"], ids) and np.array_equal(found["stamps"], marks):
                return found["maps"]
    except (FileNotFoundError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        pass
    return None
