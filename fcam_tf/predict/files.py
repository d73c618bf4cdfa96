"""Which files a photo gets in an output folder, and their names."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from fcam_tf import checks
from fcam_tf.atomic import write_atomically
from fcam_tf.names import MASKS

HEATMAPS = {"png": "png", "npy": "npy", "none": ""}  # extensions by name; empty writes none
OVERLAYS = {"png": "png", "jpeg": "jpg", "webp": "webp", "none": ""}
ANNOTATIONS = "annotations"  # the folder of data sets, below that of the results
FILE_KEYS = ("overlay", "heatmap", "mask", "soft_mask", "crop", "cutout")  # of an object's record
_KINDS = {
    "overlay": "png|jpg|webp|mp4",  # the last of all frames of a video
    "heatmap": "png|npy",
    "mask": "png",
    "soft": "png",
    "crop": "jpg",
    "cutout": "png",
    "thumb": "webp",  # of the page
}
_OURS = re.compile("|".join(rf"_{kind}(_\d+)?\.({ends})$" for kind, ends in _KINDS.items()))


@dataclasses.dataclass(frozen=True)
class Files:
    """What is written for a photo in addition to its line in results.jsonl.

    Attributes:
        heatmap: the heat map of each class, at most `fcam_tf.photos.VIEW_SIDE` pixels on the longer
            side: "png" (16 bits, 65535 is 1), "npy" (float32), or "none".
        overlay: for each class, the photo under the heat map with boxes: "png", "jpeg", "webp", or
            "none".
        mask: the mask of each object, at the photo's own resolution: "png" (255 on the object, else
            0), "soft" (8 bits: the heat map where it belongs to this object rather than to another,
            255 is 1), and "rle" (COCO run lengths, in results.jsonl). Several may be given.
        crops: whether to write the box of each object as JPEG; photos of up to 12 megapixels are
            cropped at their own resolution.
        cutouts: whether to write the same as PNG, transparent around the object.

    Raises:
        ValueError: ``heatmap``, ``overlay`` or ``mask`` is unknown.
        ImportError: "rle" without pycocotools.
    """

    heatmap: str = "png"
    overlay: str = "png"
    mask: Sequence[str] = ()
    crops: bool = False
    cutouts: bool = False

    def __post_init__(self) -> None:
        checks.choice("heatmap", self.heatmap, list(HEATMAPS))
        checks.choice("overlay", self.overlay, list(OVERLAYS))
        for each in self.mask:
            checks.choice("mask", each, MASKS)
        if "rle" in self.mask and not importlib.util.find_spec("pycocotools"):
            raise ImportError("run lengths are made by pycocotools: pip install 'fcam_tf[coco]'")
        # In one order, so that the same settings are equal.
        object.__setattr__(self, "mask", [each for each in MASKS if each in self.mask])

    @property
    def need_view(self) -> bool:
        """Whether anything is drawn over the photo."""
        return bool(OVERLAYS[self.overlay])

    @property
    def need_pixels(self) -> bool:
        """Whether anything is cut out of the photo itself."""
        return self.crops or self.cutouts


class PhotoFiles:
    """Writes the files of one photo, and removes left-over ones of a job that found more.

    Args:
        folder: the output folder.
        name: name of the photo: a path below the folder, without a suffix.
        wanted: what is written.
    """

    def __init__(self, folder: Path, name: str, wanted: Files) -> None:
        self._folder, self._name, self.wanted = folder, name, wanted
        self._last: dict[tuple[str, str], int] = {}
        folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)

    def write(self, kind: str, number: int, end: str, data: bytes) -> str:
        """Write a file completely or not at all; return its name below the folder.

        Args:
            kind: kind of the file, such as "overlay".
            number: its number within its kind, from 1 on, in ascending order.
            end: the extension.
            data: its content.

        Raises:
            OSError: the file cannot be written.
        """
        name = self._called(kind, number, end)
        write_atomically(self._folder / name, data)
        self._last[kind, end] = number
        return name

    def remove_later(self) -> None:
        """Remove files numbered higher than the last file of each kind that was written."""
        for (kind, end), last in self._last.items():
            for number in itertools.count(last + 1):
                file = self._folder / self._called(kind, number, end)
                if not file.exists():
                    break
                file.unlink()

    def _called(self, kind: str, number: int, end: str) -> str:
        return f"{self._name}_{kind}{'' if number == 1 else f'_{number}'}.{end}"


def named_after(photos: Iterable[Path], folder: Path) -> set[str]:
    """Return names that a photo must not have because its outputs could replace photos.

    Args:
        photos: photos, absolute.
        folder: the output folder, absolute.
    """
    below = [str(photo.relative_to(folder)) for photo in photos if photo.is_relative_to(folder)]
    return {_OURS.sub("", name) for name in below if is_output(name)}


def is_output(name: str) -> bool:
    """Tell by its name whether a file may be an output of this package."""
    return bool(_OURS.search(name))
