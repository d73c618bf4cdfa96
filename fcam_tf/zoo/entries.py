"""Which entries there are: names, folders and cards, without TensorFlow."""

from __future__ import annotations

import fnmatch
import os
import warnings
from pathlib import Path

from fcam_tf.names import lookup
from fcam_tf.zoo.cards import CARD, Card, check_name, read_card

ZOO = "FCAM_ZOO"
WEIGHTS = "model.weights.h5"
STATUSES = ("trained", "architecture")


def folders() -> dict[str, Path]:
    """Return the folders of entries by name: those that come along, and over them the user's own.

    The user's are in the folder that the environment variable FCAM_ZOO names.
    """
    here = Path(__file__).parent
    # A wheel carries the entries; a source checkout has them beside the package, where an installed
    # package may have a neighbour of that name.
    bundled = here / "entries" if (here / "entries").is_dir() else here.parents[1] / "zoo"
    own = os.environ.get(ZOO, "")
    roots = [bundled, *([Path(own)] if own and "://" not in own else [])]
    cards = [path for root in roots for path in root.glob(f"*/{CARD}")]
    # Hidden ones were being written when somebody ended that.
    found = {path.parent.name: path.parent for path in cards if path.parent.name[0] != "."}
    return dict(sorted(found.items()))


def folder_of(name: str) -> Path:
    """Return the folder of an entry.

    Raises:
        ValueError: there is no such entry; the message gives the nearest names.
    """
    return lookup(folders(), name, "name")


def card(name: str) -> Card:
    """Return the card of an entry, what card.schema.json describes.

    Raises:
        ValueError: there is no such entry, and the message gives the nearest names; or what it has
            is no card.
        OSError: the card cannot be read.
    """
    return read_card(folder_of(name) / CARD)


def list_models(pattern: str = "*", status: str | None = None) -> list[str]:
    """Return the names of entries, sorted.

    Args:
        pattern: with ``*`` and ``?``, as of a shell.
        status: "trained" or "architecture" for those alone; entries whose card cannot be read are
            left out with a warning.

    Raises:
        ValueError: there is no such status.
    """
    names = fnmatch.filter(folders(), pattern)
    if status is None:
        return names
    if status not in STATUSES:
        raise ValueError(f"`status` must be one of {', '.join(STATUSES)}. Received: {status!r}.")
    chosen = []
    for name in names:
        try:
            if card(name)["status"] == status:
                chosen.append(name)
        except (OSError, ValueError) as error:
            warnings.warn(f"{name} is left out: {error}", stacklevel=2)
    return chosen


def new_entry(name: str, folder: str | Path | None = None) -> Path:
    """Return the folder of an entry that is to be made, after checking that it can be.

    Args:
        name: of the entry.
        folder: the zoo; None takes the folder that FCAM_ZOO names, else ``zoo``.

    Raises:
        FileExistsError: there is an entry of that name in the folder.
        ValueError: it is no name, or the zoo is an address or cannot be written to.
    """
    check_name(name)
    root = (os.environ.get(ZOO) or "zoo") if folder is None else folder
    if "://" in str(root):
        source = f", which {ZOO} names" if folder is None else ""
        raise ValueError(
            f"`folder` must be on this machine, as an entry is written to it. Received: {root}"
            f"{source}. Give another, with --out of fcam zoo make."
        )
    path = Path(root, name)
    if path.exists():
        raise FileExistsError(f"{path} exists; remove it, or give another name or folder.")
    there = next(parent for parent in path.absolute().parents if parent.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise ValueError(f"`folder` must be one that can be written to. Received: {root}.")
    return path
