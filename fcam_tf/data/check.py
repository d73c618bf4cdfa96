"""Reads a data set as training and evaluation would, and reports all that is wrong with it."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import UnidentifiedImageError

from fcam_tf.data.folder import describe, find_splits, load_folder
from fcam_tf.data.split import Problem, Split, read_grey
from fcam_tf.data.wsol import find_folders, list_splits, read_lines
from fcam_tf.photos import PhotoError, read_header, read_pixels


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
        notes: what is no problem, but good to know.
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
        head = ("split", "images", "classes", "boxes", "masks", "problems")
        table = [head, *(tuple(str(getattr(row, name)) for name in head) for row in self.rows)]
        widths = [max(len(line[i]) for line in table) for i in range(len(head))]
        lines = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in table
        ]
        return "\n".join([*lines, *map(str, self.problems), *self.notes])


def check_dataset(root: str | Path) -> Report:
    """Checks a data set in the benchmark's layout, or a folder of class folders.

    Every image and mask is decoded. Found are malformed lines, missing and broken files, sizes
    that differ from the files', boxes outside their image, empty masks and masks of another
    size, classes without images, and ids that occur in more than one split.

    Args:
        root: the data set, see ``load_wsol`` and ``load_folder``.

    Returns:
        The report.

    Raises:
        FileNotFoundError: if there is nothing that looks like a data set.
    """
    folders = find_folders(root)
    if not folders.metadata.is_dir():
        return _check_folder(Path(root))
    rows, problems, notes = [], [], []
    home: dict[str, str] = {}
    for name in list_splits(folders):
        split, found, line_of = read_lines(folders, name)
        ids_file = folders.metadata / name / "image_ids.txt"
        for index, image in enumerate(split.ids):
            line = Problem(ids_file, line_of[image], "")
            found += _image(split, index, line)
            if image in home:
                found.append(line._replace(message=f"{image!r} is also in split {home[image]}"))
            home.setdefault(image, name)
        empty = sorted(set(range(len(split.class_names))) - set(split.labels.tolist()))
        if empty:
            shown = ", ".join(split.class_names[k] for k in empty[:5])
            more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
            message = f"classes without images: {shown}{more}"
            found.append(Problem(folders.metadata / name / "class_labels.txt", 0, message))
        rows.append(_count(split, found))
        problems += found
        turned = [path for path in split.paths if _is_turned(path)]
        if turned:
            notes.append(
                f"{name}: {len(turned)} photos are turned by EXIF, such as {turned[0]}; they are "
                "read as stored, which is what boxes and masks of the benchmark refer to"
            )
    if not rows:
        raise FileNotFoundError(f"{folders.metadata} has no <split>/image_ids.txt")
    return Report(tuple(rows), tuple(problems), tuple(notes))


def _check_folder(root: Path) -> Report:
    rows, problems = [], []
    for name in find_splits(root) or ("train", "val"):
        try:
            split = load_folder(root, name)
        except FileNotFoundError:
            if name != "val" or not rows:
                raise
            continue  # so few photos that none is held out, which the notes tell
        found = [problem for i in range(len(split)) for problem in _image(split, i, None)]
        rows.append(_count(split, found))
        problems += found
    return Report(tuple(rows), tuple(problems), tuple(describe(root)))


def broken_photos(split: Split, *, decode: bool = False) -> list[Problem]:
    """Finds the photos of a split that cannot be read, in threads.

    Args:
        split: the photos.
        decode: decode them all; otherwise files are opened and their headers read, which finds
            what is missing, empty or no photo, but not what is cut short.
    """

    def problem(path: Path) -> Problem | None:
        try:
            read_pixels(path) if decode else read_header(path)
        except PhotoError as error:
            return Problem(path, 0, str(error))
        return None

    with ThreadPoolExecutor() as executor:
        return [found for found in executor.map(problem, split.paths) if found]


def _is_turned(path: Path) -> bool:
    try:
        return read_header(path)[2]
    except PhotoError:
        return False


def _count(split: Split, problems: list[Problem]) -> SplitCounts:
    return SplitCounts(
        split=split.name,
        images=len(split),
        classes=len(Counter(split.labels.tolist())),
        boxes=sum(map(len, split.boxes or ())),
        masks=sum(map(len, split.masks or ())),
        problems=len(problems),
    )


def _image(split: Split, index: int, line: Problem | None) -> list[Problem]:
    """Problems of one image and its truth; ``line`` is where its id stands."""
    path = split.paths[index]
    where = line or Problem(path, 0, "")
    if not path.exists():
        return [where._replace(message=f"{path} does not exist")]
    try:
        read_pixels(path)
        size = read_header(path)[:2]
    except PhotoError as error:
        return [where._replace(message=str(error) if where.file == path else f"{path}: {error}")]
    found = []
    if split.sizes is not None and split.size(index) != size:
        stated = "{}x{}".format(*split.size(index))
        message = f"{split.ids[index]!r} is {size[0]}x{size[1]}, image_sizes.txt says {stated}"
        found.append(where._replace(message=message))
    if split.boxes is not None:
        boxes = split.boxes[index]
        if not len(boxes):
            found.append(where._replace(message=f"{split.ids[index]!r} has no box"))
        low, high = boxes[:, :2], boxes[:, 2:]
        wrong = ((low > high) | (high >= np.array(size))).any(axis=1)
        found += [
            where._replace(
                message=f"box {box.tolist()} of {split.ids[index]!r} is not inside "
                f"0..{size[0] - 1}, 0..{size[1] - 1}"
            )
            for box in boxes[wrong]
        ]
    return found + _masks(split, index, size, where)


def _masks(split: Split, index: int, size: tuple[int, int], where: Problem) -> list[Problem]:
    if split.masks is None:
        return []
    if not split.masks[index]:
        return [where._replace(message=f"{split.ids[index]!r} has no mask")]
    found, ignore = [], split.ignores[index]
    for file in [*split.masks[index], *([ignore] if ignore else [])]:
        try:
            mask = read_grey(file)
        except FileNotFoundError:
            found.append(where._replace(message=f"{file} does not exist"))
            continue
        except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
            found.append(where._replace(message=f"{file} cannot be read: {error}"))
            continue
        if mask.shape[::-1] != size:
            message = f"{file} is {mask.shape[1]}x{mask.shape[0]}, its image {size[0]}x{size[1]}"
            found.append(where._replace(message=message))
        if file != ignore and not mask.any():
            found.append(where._replace(message=f"{file} is empty"))
    return found
