"""Where entries are: names and folders, without TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path

from fcam_tf.zoo.cards import CARD, check_name

ZOO = "FCAM_ZOO"


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


def new_entry(name: str, folder: str | Path | None = None) -> Path:
    """Return the folder of an entry that is to be made, after checking that it can be.

    Args:
        name: of the entry.
        folder: the zoo; None takes the folder that FCAM_ZOO names, else ``zoo``.

    Raises:
        FileExistsError: there is an entry of that name in the folder.
        ValueError: it is no name, or the zoo is an address.
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
    return path
