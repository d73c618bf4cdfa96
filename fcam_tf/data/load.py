"""A split by what users type: a folder of any layout, ``tfds:NAME`` or ``shapes``."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fcam_tf.cache import cache_folder
from fcam_tf.data.folder import VAL_FRACTION, describe, load_folder
from fcam_tf.data.shapes import write_shapes
from fcam_tf.data.split import Split
from fcam_tf.data.tfds import write_tfds
from fcam_tf.data.wsol import describe_metadata, find_folders, load_wsol, reduced_list

SHAPES = "shapes"
TFDS = "tfds:"


def load(data: str | Path, split: str, val_fraction: float = VAL_FRACTION) -> Split:
    """Reads a split of a data set.

    Args:
        data: a folder in the benchmark's layout or of class folders (see ``load_folder``);
            "tfds:NAME" for a data set of ``write_tfds``; "shapes" for the generated one. The last
            two are written once, below `fcam_tf.cache.cache_folder`.
        split: name of the split.
        val_fraction: of class folders without one for val, what is held out.

    Raises:
        FileNotFoundError: if there is no such data set or split.
        DataError, ValueError: if it cannot be read, see ``load_wsol``, ``load_folder`` and
            ``write_tfds``.

    Examples:
        >>> split = fcam_tf.data.load("pets", "train")  # of three folders
        >>> split.class_names, len(split.ids)
        (('cat', 'cow', 'dog'), 5)
    """
    root = find_root(data)
    if find_folders(root).metadata.is_dir():
        return load_wsol(root, split)
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root} is not a folder; a data set is one, or {TFDS}NAME, or {SHAPES}"
        )
    return load_folder(root, split, val_fraction)


def folder_notes(data: str | Path, val_fraction: float = VAL_FRACTION) -> list[str]:
    """Notes for the user on what training takes of a data set, a line each.

    Args:
        data: see ``load``.
        val_fraction: see ``load``.
    """
    root = find_root(data)
    folders = find_folders(root)
    is_wsol = folders.metadata.is_dir()
    return describe_metadata(folders) if is_wsol else describe(root, val_fraction)


def absolute(data: str | Path) -> str:
    """Names a data set, see ``load``, so that it is the same one from every folder."""
    name = str(data)
    return name if _is_made(name) or not Path(name).exists() else str(Path(name).resolve())


def reduced_sha256(data: str | Path) -> dict[str, str]:
    """What a training by the reduced list depends on besides the splits, to be kept with it.

    Args:
        data: see ``load``.

    Returns:
        The hash of train's list as "reduced"; nothing where there is no list.
    """
    file = reduced_list(find_root(data), "train")
    return {"reduced": hashlib.sha256(file.read_bytes()).hexdigest()} if file.is_file() else {}


def find_root(data: str | Path) -> Path:
    """The folder of a data set, which is written first if it does not come as one, see ``load``."""
    name = str(data)
    if _is_made(name):
        root = cache_folder() / name.removeprefix(TFDS)
        if not root.is_dir():
            try:
                write_shapes(root) if name == SHAPES else write_tfds(name, root, download=True)
            except OSError as error:
                if not root.is_dir():  # else somebody else made it in the meantime
                    raise FileNotFoundError(
                        f"{root} is not a folder and cannot be made: {error.strerror or error}. "
                        "FCAM_CACHE says where else to write."
                    ) from error
        return root
    return Path(data)


def _is_made(name: str) -> bool:
    """Tells whether a name is that of a data set written here, whatever folder is called so."""
    return name == SHAPES or name.startswith(TFDS)
