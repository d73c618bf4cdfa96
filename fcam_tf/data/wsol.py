"""The WSOL benchmark's metadata layout (Choe et al., CVPR 2020).

``metadata/<split>/`` holds comma-separated files without a header:

    image_ids.txt           id, the image's path below the image folder
    image_ids_proxy.txt     id of some of them (may be missing), see ``reduced``
    class_labels.txt        id,label
    image_sizes.txt         id,width,height (may be empty or missing)
    localization.txt        id,x0,y0,x1,y1 or, in OpenImages30k, id,mask,ignore (may be missing)
    localization_masks.txt  id,mask,ignore where a split has boxes and masks

An image may have several boxes or masks; its ignore file stands on the first line only.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from fcam_tf.data.split import DataError, Problem, Split
from fcam_tf.photos import passed_over

METADATA = ("image_ids", "class_labels", "image_sizes", "localization", "localization_masks")
_PROXY = "image_ids_proxy"
_USUAL = ("train", "val", "test")
_INTEGER = re.compile(r"[0-9]{1,6}(\.0*)?")
_NUMBER = re.compile(r"[-+.0-9e]+")


class Folders(NamedTuple):
    """Where the parts of a data set are."""

    metadata: Path
    images: Path
    masks: Path
    ignores: Path


class Lines(NamedTuple):
    """A split as its files state it, checked line by line but not against the images."""

    split: Split
    problems: list[Problem]
    line_of: dict[str, int]  # of each id in image_ids.txt


def load_wsol(
    root: str | Path,
    split: str,
    *,
    metadata: str | Path | None = None,
    images: str | Path | None = None,
    masks: str | Path | None = None,
) -> Split:
    """Reads a split of a data set in the benchmark's layout.

    Args:
        root: the data set, e.g. a folder with metadata/, images/ and class_names.txt.
        split: "train", "val", "test" or any other folder of the metadata.
        metadata: folder that holds the splits; default root/metadata. For the benchmark's own
            files e.g. wsolevaluation/metadata/CUB.
        images: folder that the ids are relative to; default root/images, or root.
        masks: folder that mask and ignore files are relative to; default root/masks and
            root/ignore, or root.

    Returns:
        The split. Whether the files exist is not looked at (``check_dataset`` does).

    Raises:
        FileNotFoundError: if there is no such split.
        DataError: if a line is malformed, naming file and line.
    """
    given = {"metadata": metadata, "images": images, "masks": masks, "ignores": masks}
    parts = {name: Path(folder) for name, folder in given.items() if folder}
    lines = read_lines(find_folders(root)._replace(**parts), split)
    if lines.problems:
        raise DataError(lines.problems)
    return lines.split


def reduced(root: str | Path, split: Split) -> Split:
    """The images of a split that the benchmark's reduced list names, in the order of the split.

    It gives ILSVRC's train split one, metadata/train/image_ids_proxy.txt, to search numbers by
    (``proxy_training_set``).

    Args:
        root: the data set, see ``load_wsol``.
        split: one of it.

    Raises:
        FileNotFoundError: if there is no such list.
        DataError: if it names no image, or another than those of the split.
    """
    file = reduced_list(root, split.name)
    if not file.is_file():
        raise FileNotFoundError(
            f"`proxy` needs the benchmark's reduced list, {file}, which does not exist: put it "
            "there, or leave proxy=true out"
        )
    place = {image: index for index, image in enumerate(split.ids)}
    problems: list[Problem] = []
    lines = list(_lines(file, problems))
    problems += [
        Problem(file, number, f"id {image!r} is not in image_ids.txt")
        for number, image in lines
        if image not in place
    ]
    if not lines:
        problems.append(Problem(file, 0, "names no image"))
    if problems:
        raise DataError(problems)
    return split.subset(sorted({place[image] for _, image in lines}))


def reduced_list(root: str | Path, split: str) -> Path:
    """Where the reduced list of a split is, if there is one."""
    return find_folders(root).metadata / split / f"{_PROXY}.txt"


def find_folders(root: str | Path) -> Folders:
    """Finds the parts of a data set where ``load_wsol`` looks for them by default."""
    root = Path(root)
    below = (root / name for name in ("images", "masks", "ignore"))
    return Folders(root / "metadata", *(part if part.is_dir() else root for part in below))


def list_splits(folders: Folders) -> list[str]:
    """Names of the splits, train, val and test first."""
    if not folders.metadata.is_dir():
        raise FileNotFoundError(
            f"{folders.metadata} does not exist; a data set in the benchmark's layout has "
            "metadata/<split>/image_ids.txt"
        )
    names = {file.parent.name for file in folders.metadata.glob("*/image_ids.txt")}
    usual = [name for name in _USUAL if name in names]
    return usual + sorted(names - set(usual))


def describe_metadata(folders: Folders) -> list[str]:
    """Says what is passed over in the metadata: a name that is misspelt would be missed else."""
    names = [f"{name}.txt" for name in (*METADATA, _PROXY)]
    notes = []
    for split in list_splits(folders):
        files = (path for path in (folders.metadata / split).iterdir() if path.name[0] != ".")
        others = sorted(path.name for path in files if path.name not in names)
        if others:
            why = f"of no use in {folders.metadata / split}, where {', '.join(names)} are read"
            notes.append(passed_over(others, why))
    others = [name for name in list_splits(folders) if name not in _USUAL]
    if others:
        why = f"splits of {folders.metadata} that are not called {', '.join(_USUAL)}"
        notes.append(passed_over(others, why))
    return notes


def read_lines(folders: Folders, split: str) -> Lines:
    """Reads a split and collects what is wrong with its lines."""
    folder = folders.metadata / split
    if not (folder / "image_ids.txt").is_file():
        known = ", ".join(list_splits(folders)) or "none"
        raise FileNotFoundError(f"{folder / 'image_ids.txt'} does not exist; splits found: {known}")
    problems: list[Problem] = []
    line_of: dict[str, int] = {}
    for number, image in _lines(folder / "image_ids.txt", problems):
        if image in line_of:
            problems.append(Problem(folder / "image_ids.txt", number, f"duplicate id {image!r}"))
        line_of.setdefault(image, number)
    place = {image: index for index, image in enumerate(line_of)}

    labels = _integers(folder / "class_labels.txt", 1, place, problems)
    sizes = _integers(folder / "image_sizes.txt", 2, place, problems)
    one_each = {"class_labels.txt": labels, **({"image_sizes.txt": sizes} if any(sizes) else {})}
    for image, index in place.items():
        for name, rows in one_each.items():
            if (folder / name).is_file() and len(rows[index]) != 1:
                message = f"{image!r} has {len(rows[index])} lines in {name}, need one"
                problems.append(Problem(folder / "image_ids.txt", line_of[image], message))
    if not (folder / "class_labels.txt").is_file():
        problems.append(Problem(folder / "class_labels.txt", 0, "does not exist"))
    if not place:
        problems.append(Problem(folder / "image_ids.txt", 0, "names no image"))

    boxes, masks = folder / "localization.txt", folder / "localization_masks.txt"
    if not masks.exists() and _holds_masks(boxes):
        boxes, masks = folder / "no boxes", boxes
    found_boxes = _integers(boxes, 4, place, problems)
    found_masks = _mask_files(masks, folders, place, problems)
    classes = _class_names(folders, [row[0][0] for row in labels if row], problems)
    return Lines(
        Split(
            name=split,
            ids=tuple(place),
            paths=tuple(folders.images / image for image in place),
            labels=np.array([row[0][0] if row else -1 for row in labels], np.int64),
            class_names=classes,
            sizes=np.array([row[0] if row else (0, 0) for row in sizes]) if any(sizes) else None,
            boxes=tuple(np.array(rows, np.int64).reshape(-1, 4) for rows in found_boxes)
            if any(found_boxes)
            else None,
            masks=tuple(tuple(mask for mask, _ in rows) for rows in found_masks)
            if any(found_masks)
            else None,
            ignores=tuple(
                next((ignore for _, ignore in rows if ignore), None) for rows in found_masks
            ),
            upright=False,
        ),
        problems,
        line_of,
    )


def _lines(file: Path, problems: list[Problem]) -> Iterator[tuple[int, str]]:
    """Yields the lines that say something, stripped, with their numbers."""
    if not file.is_file():
        return
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            problems.append(Problem(file, number, f"is not UTF-8: {line!r}; save the file as that"))
            continue
        if text:
            yield number, text


def _integers(
    file: Path, count: int, place: dict[str, int], problems: list[Problem]
) -> list[list[list[int]]]:
    """For each image its lines of ``count`` non-negative integers, which may be written 20.0."""
    found: list[list[list[int]]] = [[] for _ in place]
    for number, line in _lines(file, problems):
        image, *values = line.rsplit(",", count)  # an id may itself hold commas
        if len(values) != count or not image:
            message = f"need {count + 1} comma-separated fields, got {line!r}"
        elif image not in place:
            message = f"id {image!r} is not in image_ids.txt"
        elif not all(_INTEGER.fullmatch(value.strip()) for value in values):
            wrong = ",".join(values)
            message = f"need non-negative integers of up to 6 digits, got {wrong!r}; round them"
        else:
            found[place[image]].append([int(float(value)) for value in values])
            continue
        problems.append(Problem(file, number, message))
    return found


def _mask_files(
    file: Path, folders: Folders, place: dict[str, int], problems: list[Problem]
) -> list[list[tuple[Path, Path | None]]]:
    """For each image its masks, each with its ignore file, which a line may leave out."""
    found: list[list[tuple[Path, Path | None]]] = [[] for _ in place]
    for number, line in _lines(file, problems):
        image, *files = line.rsplit(",", 2)
        if image not in place:  # an id may hold commas
            image, *files = line.rsplit(",", 1)
        mask, ignore = [*(name.strip() for name in files), "", ""][:2]
        if image not in place:
            message = f"need id,mask,ignore with an id of image_ids.txt, got {line!r}"
            problems.append(Problem(file, number, message))
        elif mask:
            found[place[image]].append(
                (folders.masks / mask, folders.ignores / ignore if ignore else None)
            )
        else:
            problems.append(Problem(file, number, "names no mask file"))
    return found


def _holds_masks(file: Path) -> bool:
    """Tells whether the first line ends in names of files, not in numbers."""
    line = next((text for _, text in _lines(file, [])), "")
    _, *values = line.rsplit(",", 2)
    return bool(values and values[0]) and not _NUMBER.fullmatch(values[0].strip())


def _class_names(folders: Folders, labels: list[int], problems: list[Problem]) -> tuple[str, ...]:
    """From class_names.txt beside the metadata; else numbers."""
    file = folders.metadata.parent / "class_names.txt"
    highest = max(labels, default=-1)
    if not file.is_file():
        return tuple(str(label) for label in range(highest + 1))
    names = tuple(text for _, text in _lines(file, problems))
    if highest >= len(names):
        message = f"names {len(names)} classes, but label {highest} is used"
        problems.append(Problem(file, 0, message))
    return names


class Image(NamedTuple):
    """One image to write, see ``write_split``."""

    file: str  # its name, which becomes its id
    label: int  # index of its class
    pixels: NDArray[np.uint8] | bytes  # (h, w, 3) uint8, or the content of a file
    size: tuple[int, int]  # width and height
    boxes: Sequence[Sequence[int]]  # inclusive x0, y0, x1, y1 of each object
    masks: Sequence[NDArray[np.bool_]]  # (h, w) bool of each object
    ignore: NDArray[np.bool_] | None = None  # (h, w) bool of what does not count, or None


def write_split(root: Path, split: str, images: Iterable[Image]) -> None:
    """Writes a new split of a data set: images, masks and metadata."""
    lines: dict[str, list[str]] = {name: [] for name in METADATA}
    for image in images:
        name, stem = image.file, str(Path(image.file).with_suffix(""))
        _save(root / "images" / name, image.pixels)
        lines["image_ids"].append(name)
        lines["class_labels"].append(f"{name},{image.label}")
        lines["image_sizes"].append("{},{},{}".format(name, *image.size))
        ignore = ""
        if image.ignore is not None:
            ignore = f"{stem}.png"
            _save(root / "ignore" / ignore, image.ignore)
        for k, (box, mask) in enumerate(zip(image.boxes, image.masks, strict=True)):
            _save(root / "masks" / f"{stem}_{k}.png", mask)
            lines["localization"].append("{},{},{},{},{}".format(name, *box))
            lines["localization_masks"].append(f"{name},{stem}_{k}.png,{'' if k else ignore}")
    folder = root / "metadata" / split
    folder.mkdir(parents=True)
    for name, rows in lines.items():
        (folder / f"{name}.txt").write_text("\n".join(rows), encoding="utf-8")


def _save(file: Path, content: bytes | NDArray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        scale = 255 if content.dtype == bool else 1
        PIL.Image.fromarray(content.astype(np.uint8) * scale).save(file)
