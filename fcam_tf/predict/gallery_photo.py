"""What the page of an output folder shows of one photo: a picture, its maps, what was found."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import urllib.parse
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fcam_tf.atomic import write_atomically
from fcam_tf.grey_levels import to_levels
from fcam_tf.photos import PhotoError, read_pixels
from fcam_tf.predict.outputs import caption_of, is_current
from fcam_tf.predict.pictures import encoded
from fcam_tf.visualize import resize_heatmap

ASSETS = "report"  # the folder of pictures and maps
PICTURES = r"[0-9a-f]{16}_(thumb\.webp|maps\.js)"  # what they are called
MAP_SIDE = 96  # cells on the longer side of a map: a box is right to one in 96
PICTURE_SIDE = 360  # pixels on the longer side of a picture
_QUALITY = 75  # of WebP


class Picture:
    """A photo's picture and maps for the page, made when they are asked for.

    Attributes:
        record: the photo's line in results.jsonl.
        key: identifies this state of the photo's file.
        names: names of the two files below the output folder.
    """

    def __init__(self, folder: Path, record: Mapping[str, Any]) -> None:
        self._folder, self.record = folder, record
        state = [record["file"], record.get("bytes"), record["modified"]]
        self.key = _digest(state)[:12]
        maps = [found.get("heatmap") for found in classes_of(record)]
        # Another name for other content: the page before shows its own until the new one is there.
        stamp = _digest([state, [name and (name, _changed(folder / name)) for name in maps]])[:16]
        self.names = (f"{ASSETS}/{stamp}_thumb.webp", f"{ASSETS}/{stamp}_maps.js")

    def written(self) -> dict[str, Any]:
        """Write the files that are missing; return where they are, for the page.

        A photo that cannot be read has no picture.
        """
        thumb, script = (self._folder / name for name in self.names)
        if not thumb.exists() and (data := self._thumbnail()):
            write_atomically(thumb, data)
        if not script.exists():
            call = f"fcamMaps({json.dumps(self.key)}, {json.dumps(self._maps())});\n"
            write_atomically(script, call.encode())
        return {"thumb": self.names[0] if thumb.exists() else None, "script": self.names[1]}

    def inlined(self) -> dict[str, Any]:
        """Return the picture as a data URL, and the maps."""
        data = self._thumbnail()
        address = data and f"data:image/webp;base64,{base64.b64encode(data).decode()}"
        return {"thumb": address or None, "maps": self._maps()}

    def _thumbnail(self) -> bytes:
        path = Path(self.record["file"])
        if not is_current(self.record):
            return b""
        try:
            image = Image.fromarray(read_pixels(path))
        except PhotoError:
            return b""
        image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
        return encoded(np.asarray(image), "webp", quality=_QUALITY)

    def _maps(self) -> list[dict[str, Any] | None]:
        return [
            packed(read_heatmap(self._folder, found.get("heatmap")), found["threshold"])
            for found in classes_of(self.record)
        ]


def classes_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the first object of each class that a photo was searched for."""
    return [next(group) for _, group in itertools.groupby(record["objects"], _label)]


def entry_of(picture: Picture, name: str, *, links: bool) -> dict[str, Any]:
    """Return what was found in a photo, in the form that the page uses.

    Args:
        picture: picture of the photo.
        name: name of the photo on the page.
        links: whether to link to its overlay.
    """
    record = picture.record
    classes = []
    numbered = enumerate(record["objects"], start=1)
    for _, group in itertools.groupby(numbered, lambda each: _label(each[1])):
        found = list(group)
        first = found[0][1]
        classes.append(
            {
                "label": first["label"],
                "caption": caption_of(first),
                "name": first["label_name"],
                "score": first["score"],
                "threshold": first["threshold"],
                "link": links and first.get("overlay") and _address(first["overlay"]),
                "objects": [
                    {"number": number, "box": each["box"], "area": each["area"]}
                    for number, each in found
                ],
            }
        )
    size = {"width": record["width"], "height": record["height"]}
    return {"id": picture.key, "name": name, **size, "classes": classes}


def packed(heatmap: np.ndarray | None, threshold: float) -> dict[str, Any] | None:
    """Return a heat map (h, w) in [0, 1] for the page; None stays None.

    Returns:
        w and h, at most `MAP_SIDE`; peak, the highest level of the whole map, in [0, 255]; cut, the
        level that ``threshold`` came to; and data, the (h, w) levels row by row, by zlib in base64.
    """
    if heatmap is None:
        return None
    scale = min(1.0, MAP_SIDE / max(heatmap.shape))
    height, width = (max(1, round(side * scale)) for side in heatmap.shape)
    levels = to_levels(resize_heatmap(heatmap, width, height))
    peak = int(to_levels(heatmap).max())
    data = base64.b64encode(zlib.compress(levels.tobytes(), 9)).decode()
    return {"w": width, "h": height, "peak": peak, "cut": round(threshold * peak), "data": data}


def read_heatmap(folder: Path, name: str | None) -> np.ndarray | None:
    """Read a heat map that `write_pictures` wrote, (h, w) float32 in [0, 1].

    Returns None if there is none, or if it cannot be read.
    """
    try:
        if name and name.endswith(".npy"):
            return np.clip(np.load(folder / name, allow_pickle=False), 0, 1)
        if name:
            with Image.open(folder / name) as image:
                return np.asarray(image, np.float32) / 65535
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError):  # of damaged files
        pass
    return None


def _label(found: Mapping[str, Any]) -> int:
    return found["label"]


def _address(name: str) -> str:
    return urllib.parse.quote(os.fsencode(name))


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
