"""Reads a data set as training and evaluation would, and reports everything wrong with it."""

import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from fcam_tf.data.folder import describe, find_splits, load_folder
from fcam_tf.data.load import find_root
from fcam_tf.data.split import DataError, Problem, Split
from fcam_tf.data.wsol import describe_metadata, find_folders, list_splits, read_lines
from fcam_tf.names import listed
from fcam_tf.photos import PhotoError, read_header, read_mask, read_pixels

_JPEG = b"\xff\xd8"  # begins such a file


@dataclass(frozen=True)
class SplitCounts:
    """One row of the report's table."""

    split: str
    images: int
    classes: int
    boxes: int
    masks: int
    problems: int


@dataclass(frozen=True)
class Report:
    """What ``check_dataset`` found.

    Attributes:
        rows: counts of each split.
        problems: all problems, in the order of the splits.
        notes: what is worth knowing, but not a problem.
    """

    rows: tuple[SplitCounts, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __str__(self) -> str:
        """The table, then one line for each problem and note."""
        table = [[field.name for field in fields(SplitCounts)], *map(astuple, self.rows)]
        widths = [max(len(str(cell)) for cell in column) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(f"{cell:{'<' if i == 0 else '>'}{widths[i]}}" for i, cell in enumerate(row))
            for row in table
        ]
        return "\n".join([*lines, *map(str, self.problems), *self.notes])


def check_dataset(root: str | Path) -> Report:
    """Checks a data set in the benchmark's layout, or a folder of class folders.

    Every image and mask is decoded. It reports malformed lines, missing and broken files, sizes
    that differ from the files', boxes outside their image, empty masks, masks of another size,
    masks in JPEG files, classes without images, ids that occur in more than one split, and a single
    class to train on.

    Args:
        root: the data set, see ``load``.

    Raises:
        FileNotFoundError: if there is nothing that looks like a data set.
    """
    root = find_root(root)
    folders = find_folders(root)
    if not folders.metadata.is_dir():
        return _check_folder(Path(root))
    checked: list[tuple[Split, list[Problem]]] = []
    notes = describe_metadata(folders)
    home: dict[str, str] = {}
    for name in list_splits(folders):
        split, found, line_of = read_lines(folders, name)
        ids_file, turned = folders.metadata / name / "image_ids.txt", []
        lines = [Problem(ids_file, line_of[image], "") for image in split.ids]
        with ThreadPoolExecutor() as executor:
            images = executor.map(functools.partial(_check_image, split), range(len(split)), lines)
        for index, (wrong, is_turned) in enumerate(images):
            image, line = split.ids[index], lines[index]
            found += wrong
            turned += [split.paths[index]] * is_turned
            if image in home:
                found.append(line._replace(message=f"{image!r} is also in split {home[image]}"))
            home.setdefault(image, name)
        empty = sorted(set(range(len(split.class_names))) - set(split.labels.tolist()))
        if empty:
            message = f"classes without images: {listed(split.class_names[k] for k in empty)}"
            found.append(Problem(folders.metadata / name / "class_labels.txt", 0, message))
        found += _single_class(root, split)
        checked.append((split, found))
        if turned:
            notes.append(
                f"{name}: {len(turned)} photos are turned by EXIF, such as {turned[0]}; they are "
                "read as stored, which is what boxes and masks of the benchmark refer to"
            )
    if not checked:
        raise FileNotFoundError(f"{folders.metadata} has no <split>/image_ids.txt")
    return _report(checked, notes)


def _check_folder(root: Path) -> Report:
    checked: list[tuple[Split, list[Problem]]] = []
    for name in find_splits(root) or ("train", "val"):
        try:
            split = load_folder(root, name)
        except FileNotFoundError:
            if name != "val" or not checked:
                raise
            continue  # so few photos that none is held out, which the notes tell
        found = broken_photos(split, decode=True) + _single_class(root, split)
        checked.append((split, found))
    return _report(checked, describe(root))


def single_class(split: Split) -> str:
    """Says why a split cannot train a classifier, "" where it has two classes or more."""
    labels = {*split.labels.tolist()}
    if len(labels) > 1:
        return ""
    # Of a damaged split none, or one beyond the names.
    named = [f", {name!r}" for i, name in enumerate(split.class_names) if i in labels]
    return (
        f"has one class{''.join(named)}, and a classifier learns to "
        "tell classes apart: add a class of other photos"
    )


def _single_class(root: str | Path, split: Split) -> list[Problem]:
    message = single_class(split) if split.name == "train" else ""
    return [Problem(Path(root), 0, message)] if message else []


def broken_photos(split: Split, *, decode: bool = False) -> list[Problem]:
    """Finds the photos of a split that cannot be read, in threads.

    Args:
        split: the photos.
        decode: decode them all; otherwise files are opened and their headers read, which finds
            what is missing, empty or not a photo, but not what is cut short.
    """

    def problem(path: Path) -> Problem | None:
        try:
            read_pixels(path) if decode else read_header(path)
        except PhotoError as error:
            return Problem(path, 0, str(error))
        return None

    with ThreadPoolExecutor() as executor:
        return [found for found in executor.map(problem, split.paths) if found]


def without_broken(split: Split, tell: Callable[[str], object]) -> Split:
    """Leaves out the photos of a split that cannot be decoded; ``tell`` is told which, and why."""
    broken = broken_photos(split, decode=True)
    if broken:
        tell(str(DataError(broken, f"left out of {split.name}")))
    bad = {problem.file for problem in broken}
    return split.subset([i for i, path in enumerate(split.paths) if path not in bad])


def left_out(split: Split, tell: Callable[[str], object]) -> list[str]:
    """Return the names of the photos that `without_broken` leaves out."""
    kept = set(without_broken(split, tell).ids)
    return [name for name in split.ids if name not in kept]


def _report(checked: Sequence[tuple[Split, list[Problem]]], notes: Sequence[str]) -> Report:
    notes = list(notes)
    if all(split.name != "train" for split, _ in checked):
        notes.append("there is no train split: the data set can be evaluated on, not trained on")
    rows = (
        SplitCounts(
            split=split.name,
            images=len(split),
            classes=len(set(split.labels.tolist())),
            boxes=sum(map(len, split.boxes or ())),
            masks=sum(map(len, split.masks or ())),
            problems=len(problems),
        )
        for split, problems in checked
    )
    return Report(tuple(rows), tuple(p for _, found in checked for p in found), tuple(notes))


def _check_image(split: Split, index: int, line: Problem) -> tuple[list[Problem], bool]:
    """Returns problems of an image and its ground truth, at its id's line; and if EXIF turns it."""
    path, name = split.paths[index], split.ids[index]
    messages: list[str] = []
    if _read(read_pixels, path, messages) is None:
        return [line._replace(message=message) for message in messages], False
    *size, turned = read_header(path)
    if split.sizes is not None and split.size(index) != tuple(size):
        stated = "{}x{}".format(*split.size(index))
        messages.append(f"{name!r} is {size[0]}x{size[1]}, image_sizes.txt says {stated}")
    if split.boxes is not None:
        boxes = split.boxes[index]
        messages += [f"{name!r} has no box"] * (not len(boxes))
        for box in boxes:
            if (box[:2] > box[2:]).any():
                what = "has x0 > x1 or y0 > y1: need x0,y0,x1,y1 with x0 <= x1 and y0 <= y1"
            elif (box[2:] >= size).any():
                what = f"is not inside 0..{size[0] - 1}, 0..{size[1] - 1}"
            else:
                continue
            messages.append(f"box {box.tolist()} of {name!r} {what}")
    messages += _check_masks(split, index, size)
    return [line._replace(message=message) for message in messages], turned


def _check_masks(split: Split, index: int, size: list[int]) -> Iterator[str]:
    if split.masks is None:
        return
    files, ignore = split.masks[index], split.ignores[index]
    if not files:
        yield f"{split.ids[index]!r} has no mask"
        return
    for file in (*files, *([ignore] if ignore else ())):
        messages: list[str] = []
        mask = _read(read_mask, file, messages)
        yield from messages
        if mask is not None and [*mask.shape[::-1]] != size:
            yield f"{file} is {mask.shape[1]}x{mask.shape[0]}, its image {size[0]}x{size[1]}"
        if mask is not None and file != ignore and not mask.any():
            yield f"{file} is empty"
        if mask is not None and file.read_bytes()[:2] == _JPEG:
            what = "is a JPEG file, which has grey levels around the object that count as object"
            yield f"{file} {what}; make it a PNG file of 0 and 255"


def _read(read: Callable[[Path], Any], path: Path, messages: list[str]) -> Any:
    """Reads a file; None where that fails, with the reason added to the messages."""
    try:
        return read(path)
    except PhotoError as error:
        messages.append(f"{path}: {error}" if path.exists() else f"{path} does not exist")
    return None
