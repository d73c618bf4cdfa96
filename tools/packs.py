"""Packs: a data set in one small file, read without TensorFlow.

A pack is a compressed .npz file: for each split the encoded images one after the other and where
each ends, labels, and boxes and masks in the frame in which maps are scored.
"""

from __future__ import annotations

import io
import lzma
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

Pack = dict[str, np.ndarray]


def write_pack(path: Path, pack: Pack) -> None:
    """Write a pack; JPEG files of one kind share their tables, which compression takes out."""
    file = io.BytesIO()
    np.savez(file, **pack)
    path.write_bytes(lzma.compress(file.getvalue(), preset=3))


def read_pack(path: str | Path) -> Pack:
    """Read a pack."""
    with np.load(io.BytesIO(lzma.decompress(Path(path).read_bytes()))) as file:
        return dict(file)


def join(parts: Sequence[np.ndarray | bytes]) -> Pack:
    """Return parts one after the other, as "values", and where each ends, as "ends"."""
    values = [np.frombuffer(x, np.uint8) if isinstance(x, bytes) else x for x in parts]
    return {"values": np.concatenate(values), "ends": np.cumsum([len(x) for x in values])}


class Images:
    """One split of some packs, decoded.

    Args:
        packs: what `read_pack` gave; those without the split are passed over.
        name: of the split.
        side: images are resized to this square, in pixels.
        classes: of the model. Labels of packs that name another number of classes become -1.
        limit: how many images to take; None for all.

    Attributes:
        pixels: (n, side, side, 3) uint8 RGB.
        labels: (n,) int64.
        boxes: for each image (m, 4) int64 x0, y0, x1, y1 in the packs' frame; empty if unknown.
        masks: (n, frame, frame) uint8, or None.
    """

    def __init__(
        self,
        packs: Sequence[Pack],
        name: str,
        side: int,
        classes: int,
        limit: int | None = None,
    ) -> None:
        packs = [pack for pack in packs if f"{name}_labels" in pack]
        labels, self.boxes, files, masks = [np.zeros(0, np.int64)], [], [], []
        for pack in packs:
            own = len(pack.get("class_names", ())) in (0, classes)
            found = pack[f"{name}_labels"]
            labels.append(found if own else np.full_like(found, -1))
            files += _parts(pack, f"{name}_image")
            self.boxes += _parts(pack, f"{name}_box")
            masks += [pack[key] for key in (f"{name}_masks",) if key in pack]
        self.labels = np.concatenate(labels)[:limit]
        self.boxes = self.boxes[:limit]
        self.masks = np.concatenate(masks)[:limit] if masks else None
        self.pixels = np.empty((len(self.labels), side, side, 3), np.uint8)
        with ThreadPoolExecutor() as executor:
            decoded = executor.map(lambda file: _square(file, side), files[:limit])
            for place, image in zip(self.pixels, decoded, strict=True):
                place[:] = image

    def __len__(self) -> int:
        return len(self.labels)


def _parts(pack: Pack, key: str) -> list[np.ndarray]:
    if f"{key}_values" not in pack:
        return []
    return np.split(pack[f"{key}_values"], pack[f"{key}_ends"][:-1])


def _square(file: np.ndarray, side: int) -> np.ndarray:
    with Image.open(io.BytesIO(file.tobytes())) as image:
        return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))
