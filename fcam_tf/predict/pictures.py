"""The files that a photo gets in an output folder: overlays and heat maps."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fcam_tf import visualize
from fcam_tf.atomic import write_atomically
from fcam_tf.localization import NO_BOX

if TYPE_CHECKING:
    from fcam_tf.localization import Localization
    from fcam_tf.photos import Photo

OVERLAY_SUFFIX = "_overlay.png"
HEATMAP_SUFFIXES = {"png": "_heatmap.png", "npy": "_heatmap.npy", "none": ""}
_SUFFIXES = (OVERLAY_SUFFIX, *filter(None, HEATMAP_SUFFIXES.values()))
_COMPRESSION = 1  # of zlib: four times as fast as its default, and a sixth larger


def write_pictures(
    folder: Path,
    name: str,
    photo: Photo,
    found: Sequence[Localization],
    captions: Sequence[str],
    *,
    heatmap: str,
) -> list[dict[str, str | None]]:
    """Write an overlay and a heat map for each class that a photo shows, or one of each for all.

    One is enough where all classes have the same map. Later files of a kind are numbered,
    "cat_overlay_2.png", and those of an earlier job that showed more classes are removed.

    Args:
        folder: the output folder.
        name: path below it, without a suffix.
        photo: the photo.
        found: each class, without a batch axis.
        captions: what it is called.
        heatmap: a key of `HEATMAP_SUFFIXES`.

    Returns:
        For each class the names of its files below ``folder``, "overlay" and "heatmap", which is
        None for "none".

    Raises:
        OSError: a file cannot be written; none is left in part.
    """
    folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
    same = all(np.array_equal(each.heatmaps, found[0].heatmaps) for each in found)
    everything = range(len(found))
    groups = [everything] if same else [range(i, i + 1) for i in everything]
    files = []
    for number, group in enumerate(groups, start=1):
        overlay = _overlay(photo, [found[i] for i in group], [captions[i] for i in group])
        overlay_name, heatmap_name = name + _numbered(OVERLAY_SUFFIX, number), None
        write_atomically(folder / overlay_name, _png(overlay))
        if suffix := HEATMAP_SUFFIXES[heatmap]:
            heatmap_name = name + _numbered(suffix, number)
            data = _heatmap(photo, found[group[0]].heatmaps, suffix)
            write_atomically(folder / heatmap_name, data)
        files += [{"overlay": overlay_name, "heatmap": heatmap_name}] * len(group)
    _remove_later(folder / name, len(groups))
    return files


def is_picture(name: str) -> bool:
    """Tell whether a file may be one of ours by its name."""
    return re.sub(r"_\d+(?=\.\w+$)", "", name).endswith(_SUFFIXES)


def _overlay(photo: Photo, found: Sequence[Localization], captions: Sequence[str]) -> np.ndarray:
    box = tuple(found[0].boxes)
    scores = [float(each.scores) for each in found]
    first = [f"{text} {score:.0%}" for text, score in zip(captions, scores, strict=True)][:-1]
    return visualize.overlay(
        photo.view,
        found[0].heatmaps,
        box if box != NO_BOX else None,
        ", ".join([*first, captions[-1]]),
        scores[-1],
    )


def _heatmap(photo: Photo, heatmap: np.ndarray, suffix: str) -> bytes:
    height, width = photo.view.shape[:2]
    values = visualize.resize_heatmap(heatmap, width, height)
    return _npy(values) if suffix.endswith("npy") else _png((65535 * values + 0.5).astype("uint16"))


def _numbered(suffix: str, number: int) -> str:
    stem, form = suffix.split(".")
    return suffix if number == 1 else f"{stem}_{number}.{form}"


def _remove_later(path: Path, last: int) -> None:
    for suffix in _SUFFIXES:
        for number in itertools.count(last + 1):
            file = path.with_name(path.name + _numbered(suffix, number))
            if not file.exists():
                break
            file.unlink()


def _png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG", compress_level=_COMPRESSION)
    return buffer.getvalue()


def _npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()
