"""YOLO's data set format for detection (https://docs.ultralytics.com/datasets/detect/)."""

from __future__ import annotations

import json
import re
from pathlib import Path

from fcam_tf.atomic import new_folder
from fcam_tf.predict.annotations.found import Annotated, Results, below, utf8

FOLDER = "yolo"
# Ultralytics passes over files of other suffixes without a word.
_SUFFIXES = frozenset(
    {
        *(".avif", ".bmp", ".heic", ".heif", ".jp2", ".jpeg", ".jpg", ".png", ".tif", ".tiff"),
        ".webp",
    }
)
_NOT_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")  # as JSON has them


def write(folder: Path, results: Results) -> Path:
    """Write labels/NAME.txt and images/NAME.*, a link to the photo, and data.yaml; return it.

    NAME is the name of the photo's other outputs, except that folders named "images" become
    "photos": trainers find labels by replacing the last "images" in a path by "labels". A line of
    labels is the class, and the box's centre and size as fractions of the photo's. A photo without
    objects has an empty file. Only classes that occur are numbered, from 0 in the model's order,
    because the list of names must not have gaps.

    Raises:
        OSError: a file cannot be written.
    """
    path = folder / FOLDER
    numbers = {label: number for number, label in enumerate(results.classes)}
    with new_folder(path, replace=True) as place:
        for kind in ("labels", "images"):
            (place / kind).mkdir()
        taken: set[str] = set()
        for photo in results:
            name = below(_renamed(photo.name), [".txt", *_SUFFIXES], taken)
            suffix = Path(photo.file).suffix
            # What is no photo to trainers by its suffix, they try by its content under another.
            ending = suffix if suffix.lower() in _SUFFIXES else ".jpg"
            labels = place / "labels" / f"{name}.txt"
            image = place / "images" / f"{name}{ending}"
            labels.parent.mkdir(parents=True, exist_ok=True)
            image.parent.mkdir(parents=True, exist_ok=True)
            labels.write_text("".join(_lines(photo, numbers)), encoding="ascii")
            image.symlink_to(photo.file)
        names = "".join(
            f"  {numbers[label]}: {_quoted(name)}\n" for label, name in results.classes.items()
        )
        # The same photos twice, as both keys must be there: whoever trains splits them.
        text = f"path: {_quoted(str(path.resolve()))}\ntrain: images\nval: images\n"
        text += f"names:\n{names}" if names else "names: {}\n"
        (place / "data.yaml").write_text(text, encoding="utf-8")
    return path / "data.yaml"


def _renamed(name: str) -> str:
    """Return a name with no folder whose place trainers would take for that of the images."""
    *folders, last = name.split("/")
    return "/".join([*("photos" if each == "images" else each for each in folders), last])


def _lines(photo: Annotated, numbers: dict[int, int]) -> list[str]:
    lines = []
    for each in photo.objects:
        (x0, y0, _, _), (width, height) = each.box, each.size
        centre = (x0 + width / 2) / photo.width, (y0 + height / 2) / photo.height
        place = (*centre, width / photo.width, height / photo.height)
        lines.append(" ".join([str(numbers[each.label]), *(f"{v:.6f}" for v in place)]) + "\n")
    return lines


def _quoted(text: str) -> str:
    # A string of JSON is one of YAML, but for a few characters.
    quoted = json.dumps(utf8(text), ensure_ascii=False)
    return _NOT_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)
