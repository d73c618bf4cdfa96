"""A plain folder of class folders: labels without boxes."""

from pathlib import Path

import numpy as np

from fcam_tf.data.split import Split

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png"})


def load_folder(root: str | Path, split: str | None = None) -> Split:
    """Reads ``root/<class>/**/image`` or, with a split, ``root/<split>/<class>/**/image``.

    Classes are numbered in the sorted order of their folders' names, images are in sorted order.
    Hidden files and folders are skipped.

    Args:
        root: the data set.
        split: name of the folder to read inside root; None reads root itself.

    Returns:
        The split, without sizes, boxes or masks.

    Raises:
        FileNotFoundError: if the folder does not exist or has no class folder with an image.
    """
    folder = Path(root) / (split or "")
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    classes = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
    paths, labels = [], []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).rglob("*")):
            hidden = any(part[0] == "." for part in path.relative_to(folder).parts)
            if path.suffix.lower() in SUFFIXES and not hidden:
                paths.append(path)
                labels.append(label)
    if not paths:
        raise FileNotFoundError(
            f"{folder} has no class folders with images ({', '.join(sorted(SUFFIXES))})"
        )
    return Split(
        name=split or "all",
        ids=tuple(path.relative_to(folder).as_posix() for path in paths),
        paths=tuple(paths),
        labels=np.array(labels, np.int64),
        class_names=tuple(classes),
    )
