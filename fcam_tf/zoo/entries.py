"""Which entries there are: names, folders and cards, without TensorFlow."""

from __future__ import annotations

import contextlib
import fnmatch
import os
from pathlib import Path

from fcam_tf.names import lookup
from fcam_tf.zoo.cards import CARD, Card, check_name, read_card
from fcam_tf.zoo.rule import buildable, untrained_card

ZOO = "FCAM_ZOO"
WEIGHTS = "model.weights.h5"


def folders() -> dict[str, Path]:
    """Return the folders of trained models: those that come along, and over them the user's own.

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
    """Return the folder of a trained model.

    Raises:
        ValueError: there is none of that name; the message gives the nearest ones, or tells how an
            untrained one is made.
    """
    known = folders()
    if name not in known and name in buildable():
        raise ValueError(untrained(name))
    return lookup(known, name, "name")


def untrained(name: str) -> str:
    """Say that a model is untrained, and how it is made."""
    return (
        f"{name} has not been trained: its answers would be random. Train it with `fcam zoo make "
        f"{name} --data DATA --licence LICENCE`; `fcam zoo list` shows what is trained."
    )


def card(name: str) -> Card:
    """Return the card of a model, what card.schema.json describes.

    For ``<backbone>_<method>`` without an entry it is `fcam_tf.zoo.rule.untrained_card`.

    Raises:
        ValueError: there is no such model, and the message gives the nearest names; or what it has
            is no card.
        OSError: the card cannot be read.
    """
    known = folders()
    if name not in known and name in buildable():
        return untrained_card(name)
    return read_card(lookup(known, name, "name") / CARD)


def neighbours(folder: Path) -> list[Card]:
    """Return the cards beside a folder, as far as they can be read."""
    cards = []
    for path in folder.parent.glob(f"[!.]*/{CARD}"):
        with contextlib.suppress(OSError, ValueError):
            cards.append(read_card(path))
    return [card for card in cards if card["name"] != folder.name]


def list_models(pattern: str = "*", *, trained: bool | None = True) -> list[str]:
    """Return the names of models, sorted.

    Args:
        pattern: with ``*`` and ``?``, as of a shell.
        trained: True for entries, which are trained; False for what can be built and has no entry
            yet; None for both.
    """
    known = folders()
    names = {True: {*known}, False: {*buildable()} - {*known}, None: {*known, *buildable()}}
    return sorted(fnmatch.filter(names[trained], pattern))


def new_entry(name: str, folder: str | Path | None = None, *, replace: bool = False) -> Path:
    """Return the folder of an entry that is to be made, after checking that it can be.

    Args:
        name: of the entry.
        folder: the zoo; None takes the folder that FCAM_ZOO names, else ``zoo``.
        replace: whether it may take the place of another.

    Raises:
        FileExistsError: there is an entry of that name in the folder.
        ValueError: it is no name, the zoo is an address or cannot be written to, or other entries
            need the weights of the one that is to be replaced.
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
    if path.exists() and not replace:
        raise FileExistsError(
            f"{path} exists; give another name or folder, or `replace` (fcam zoo make --replace)."
        )
    users = [c["name"] for c in neighbours(path) if c["weights"].get("entry") == name]
    if users:
        raise ValueError(
            f"{path} holds the weights of {', '.join(users)} as well. Remove those entries first."
        )
    there = next(parent for parent in path.absolute().parents if parent.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise ValueError(f"`folder` must be one that can be written to. Received: {root}.")
    return path
