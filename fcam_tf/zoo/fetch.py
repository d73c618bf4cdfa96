"""Finding the weights of an entry: on this machine, or at an address."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fcam_tf.identity import file_sha256
from fcam_tf.zoo import hdf5
from fcam_tf.zoo.cards import Card
from fcam_tf.zoo.download import WeightsDamagedError, fetch, is_right
from fcam_tf.zoo.entries import WEIGHTS, ZOO, find_folder


def find_weights(card: Card, folder: Path) -> Path:
    """Return a file with the weights of an entry, its size and SHA-256 checked.

    The file is looked up in this order: the folder or address that the environment variable
    FCAM_ZOO names, the entry's own folder, the cache (`fcam_tf.cache.cache_folder`), the addresses
    in the card. A file from an address goes into the cache, and is not fetched again. A card may
    name another entry, whose file is then used.

    Args:
        card: card of the entry, which must have weights.
        folder: folder of the entry.

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
        addresses = [f"{zoo.rstrip('/')}/{name}/{file}" for file in (WEIGHTS, hdf5.FILE)]
        if found := fetch(name, wanted, addresses, failures):
            return found
    elif zoo:
        folders.insert(0, Path(zoo, name))
    for file in dict.fromkeys(map(_file_in, folders)):
        if not file.is_file():
            failures.append(f"{file}: does not exist")
        elif shared and not is_right(file, wanted):  # that entry has been trained anew
            failures.append(f"{file}: not the file that the card describes")
        else:
            check_file(file, wanted)
            return file
    if found := fetch(name, wanted, wanted["addresses"], failures):
        return found
    whose = f", which are those of {name}," if shared else ""
    raise FileNotFoundError(
        f"the weights of {card['name']}{whose} cannot be found: {'; '.join(failures)}. Give "
        f"a file with `weights`, or a folder or address that holds {name}/{WEIGHTS} with {ZOO}."
    )


def _file_in(folder: Path) -> Path:
    """Name the weights in an entry's folder; those of before, where it has no others."""
    new, old = folder / WEIGHTS, folder / hdf5.FILE
    return old if old.is_file() and not new.is_file() else new


def check_file(path: Path, wanted: dict[str, Any]) -> None:
    """Check a file against the size and the hash in a card.

    Raises:
        WeightsDamagedError: it is another file.
    """
    size = path.stat().st_size
    if size != wanted["bytes"]:  # before all of a file without end is read
        found = f"it has {size} bytes, not {wanted['bytes']}"
    elif (sha256 := file_sha256(path)) != wanted["sha256"]:
        found = f"its SHA-256 is {sha256}, not {wanted['sha256']}"
    else:
        return
    raise WeightsDamagedError(
        f"{path} is not the file that its card describes: {found}. It is damaged or was changed; "
        "remove it, and the next place is tried."
    )
