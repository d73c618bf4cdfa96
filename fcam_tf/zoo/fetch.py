"""Finding the weights of an entry: on this machine, or at an address."""

from __future__ import annotations

import os
from pathlib import Path

from fcam_tf.identity import file_sha256
from fcam_tf.zoo.cards import Card
from fcam_tf.zoo.download import WeightsDamagedError, fetch, is_right
from fcam_tf.zoo.entries import WEIGHTS, ZOO, find_folder


def find_weights(card: Card, folder: Path) -> Path:
    """Return a file with the weights of an entry, its SHA-256 checked.

    Looked up in this order: the folder or address that the environment variable FCAM_ZOO names,
    the entry's own folder, the cache (`fcam_tf.cache.cache_folder`), the addresses in the card.
    What comes from an address goes into the cache, and is not fetched again. A card may name
    another entry, whose file it then is.

    Args:
        card: of the entry; it has weights.
        folder: of the entry.

    Raises:
        FileNotFoundError: they cannot be found; the message says where they were looked for.
        WeightsDamagedError: a file in one of the folders is not the one that the card describes.
    """
    wanted = card["weights"]
    name = wanted.get("entry", card["name"])
    shared = name != card["name"]
    zoo = os.environ.get(ZOO, "")
    folders = [folder.with_name(name), find_folder(name) or folder] if shared else [folder]
    failures: list[str] = []
    if "://" in zoo:
        address = f"{zoo.rstrip('/')}/{name}/{WEIGHTS}"
        if found := fetch(name, wanted, [address], failures):
            return found
    elif zoo:
        folders.insert(0, Path(zoo, name))
    for file in dict.fromkeys(place / WEIGHTS for place in folders):
        if not file.is_file():
            failures.append(f"{file}: does not exist")
        elif shared and not is_right(file, wanted):  # that entry has been trained anew
            failures.append(f"{file}: not the file that the card describes")
        else:
            check_sha256(file, wanted["sha256"])
            return file
    if found := fetch(name, wanted, wanted["addresses"], failures):
        return found
    whose = f", which are those of {name}," if shared else ""
    raise FileNotFoundError(
        f"the weights of {card['name']}{whose} cannot be found: {'; '.join(failures)}. Give "
        f"a file with `weights`, or a folder or address that holds {name}/{WEIGHTS} with {ZOO}."
    )


def check_sha256(path: Path, expected: str) -> None:
    """Check a file against its hash.

    Raises:
        WeightsDamagedError: it is another file.
    """
    found = file_sha256(path)
    if found != expected:
        raise WeightsDamagedError(
            f"{path} is not the file that its card describes: its SHA-256 is {found}, not "
            f"{expected}. It is damaged or was changed; remove it, and the next place is tried."
        )
