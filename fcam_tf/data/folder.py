"""Class folders: labels without boxes, with folders of splits around them or without."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcam_tf.data.split import Split
from fcam_tf.names import listed, printable
from fcam_tf.photos import LINKED, NOT_PHOTOS, SUFFIXES, passed_over

VAL_FRACTION = 0.2  # of the photos of a folder that has no split for validation

# What people call the folders of splits.
SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


class ClassFolders(NamedTuple):
    """The photos of one folder of class folders."""

    # By class, the classes sorted by name, each one's photos by path. Not empty.
    photos: dict[str, list[Path]]
    empty: list[Path]  # class folders without a photo
    # Below class folders: files that are not photos by their names, and linked folders.
    passed_over: list[Path]


def load_folder(
    root: str | Path, split: str | None = None, val_fraction: float = VAL_FRACTION
) -> Split:
    """Reads ``ROOT/<split>/<class>/**/photo`` or ``ROOT/<class>/**/photo``.

    A folder called train, val or test (or training, valid, validation, testing) that holds folders
    and no photo is a split, and then only such folders are read. The classes are those of train,
    numbered in the order of their names, in every split. Where there is no folder for val,
    ``val_fraction`` of train is held out: the hash of a photo's path below ROOT decides whether it
    belongs to val or to train, so photos that come later move none. A class whose photos would all
    be held out keeps one. Hidden files and folders are skipped.

    Args:
        root: the data set.
        split: "train", "val", "test" or the name of a folder of class folders in ROOT; None reads
            ROOT as one split.
        val_fraction: in [0, 1).

    Returns:
        The split, without sizes, boxes or masks; ids are paths below the class folders' parent.

    Raises:
        FileNotFoundError: there is no such split, or no class folder with a photo.
        ValueError: a split has classes that train has not.
    """
    root = Path(root)
    if split is None:
        return _split("all", root, read_classes(root).photos)
    found = find_splits(root)
    train = found.get("train", None if found else root)
    if split in ("train", "val") and train and "val" not in found:
        photos = _side(read_classes(train).photos, root, val_fraction, val=split == "val")
        if not any(photos.values()):
            raise FileNotFoundError(
                f"{root} has no folder for val, and none of its photos are held out for it at a "
                f"fraction of {val_fraction}"
            )
        return _split(split, train, photos)
    folder = found.get(split, root / split)
    if not (found and folder.is_dir()):
        if train:
            read_classes(train)  # raises if there is no photo at all
        there = sorted({*found, *(("train", "val") if train else ())})
        raise FileNotFoundError(f"{root} has no split {split!r}. Available: {', '.join(there)}")
    photos = read_classes(folder).photos
    classes = read_classes(train).photos if train else photos
    if unknown := sorted(photos.keys() - classes.keys()):
        raise ValueError(f"{folder} has classes that {train} has no photo of: {', '.join(unknown)}")
    return _split(split, folder, {name: photos.get(name, []) for name in classes})


def describe(root: Path, val_fraction: float = VAL_FRACTION) -> list[str]:
    """Says what was held out for val, what was left out and what was passed over, a line each."""
    found = find_splits(root)
    notes = []
    for folder in found.values() or [root]:
        _, empty, others = read_classes(folder)
        if empty:
            notes.append(f"class folders without a photo are left out: {listed(empty)}")
        links = [path for path in others if path.is_dir()]
        files = [path for path in others if path not in links]
        kinds = ((files, NOT_PHOTOS), (links, LINKED))
        notes += [passed_over(paths, why) for paths, why in kinds if paths]
    beside = [path.name for path in _visible(root) if found and path not in found.values()]
    if beside:
        notes.append(passed_over(beside, f"beside the splits of {root}"))
    if "val" not in found and (not found or "train" in found):
        photos = read_classes(found.get("train", root)).photos
        held = _side(photos, root, val_fraction, val=True)
        counts = [sum(map(len, side.values())) for side in (held, photos)]
        notes.append(
            f"{root} has no folder for val: {counts[0]} of {counts[1]} photos are held out for it, "
            f"by the hash of their names (val_fraction={val_fraction})"
        )
    return notes


def find_splits(root: Path) -> dict[str, Path]:
    """Folders of splits by what a split is called here; none where ROOT holds class folders."""
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder")
    folders = {p.name.casefold(): p for p in _visible(root) if p.is_dir()}
    named = {
        split: folders[name] for split, names in SPLITS.items() for name in names if name in folders
    }
    return {split: folder for split, folder in named.items() if _holds_folders(folder)}


def read_classes(folder: Path) -> ClassFolders:
    """Lists the photos of a folder of class folders; FileNotFoundError says that there are none."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    photos: dict[str, list[Path]] = {}
    passed_over = []
    inside = _visible(folder)
    for path in inside:
        if path.is_dir():
            files = list(_files(path))
            photos[path.name] = [file for file in files if file.suffix.lower() in SUFFIXES]
            passed_over += [file for file in files if file.suffix.lower() not in SUFFIXES]
        else:
            passed_over.append(path)
    if not any(photos.values()):
        lacks = f"has no class folders with photos ({', '.join(sorted(SUFFIXES))})"
        raise FileNotFoundError(f"{folder} {lacks if inside else 'is empty'}")
    empty = [folder / name for name, paths in photos.items() if not paths]
    return ClassFolders({k: paths for k, paths in photos.items() if paths}, empty, passed_over)


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name[0] != ".")


def _files(folder: Path) -> Iterator[Path]:
    """Yields the files below a folder, sorted, without hidden ones; and linked folders."""
    for path in _visible(folder):
        if path.is_dir():
            yield from [path] if path.is_symlink() else _files(path)
        else:
            yield path


def _holds_folders(folder: Path) -> bool:
    inside = _visible(folder)
    photos = [p for p in inside if p.suffix.lower() in SUFFIXES and not p.is_dir()]
    return any(p.is_dir() for p in inside) and not photos


def _side(
    photos: dict[str, list[Path]], root: Path, val_fraction: float, *, val: bool
) -> dict[str, list[Path]]:
    """Keeps of each class what is held out for val, or what is not."""
    sides = {}
    for name, paths in photos.items():
        places = {path: _place(path.relative_to(root)) for path in paths}
        kept = max(paths, key=lambda path: places[path])  # for training, in any case
        sides[name] = [p for p in paths if (places[p] < val_fraction and p != kept) == val]
    return sides


def _place(path: Path) -> float:
    """A number in [0, 1) by a hash of the path, on every system the same."""
    name = unicodedata.normalize("NFC", path.as_posix())  # macOS takes letters apart
    digest = hashlib.sha256(os.fsencode(name)).digest()
    return int.from_bytes(digest[:7]) / 2**56


def _split(name: str, folder: Path, photos: dict[str, list[Path]]) -> Split:
    paths = [path for members in photos.values() for path in members]
    return Split(
        name=name,
        ids=tuple(printable(path.relative_to(folder).as_posix()) for path in paths),
        paths=tuple(paths),
        labels=np.repeat(np.arange(len(photos)), [len(members) for members in photos.values()]),
        class_names=tuple(map(printable, photos)),
    )
