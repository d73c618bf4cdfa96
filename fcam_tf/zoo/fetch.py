"""Finding the weights of an entry: on this machine, or at an address."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import rich.progress

from fcam_tf.cache import cache_folder
from fcam_tf.claim import made_and_locked
from fcam_tf.identity import file_sha256
from fcam_tf.zoo.cards import Card
from fcam_tf.zoo.entries import WEIGHTS, ZOO, find_folder

_CHUNK = 2**20  # bytes
_DRIVERS = {"gs": "gcsfs", "gcs": "gcsfs", "s3": "s3fs"}  # what fsspec needs, by protocol


class WeightsDamagedError(OSError):
    """A weights file is not the one that its card describes."""


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
        if found := _fetch(name, wanted, [address], failures):
            return found
    elif zoo:
        folders.insert(0, Path(zoo, name))
    for file in dict.fromkeys(place / WEIGHTS for place in folders):
        if not file.is_file():
            failures.append(f"{file}: does not exist")
        elif shared and not _is_right(file, wanted):  # that entry has been trained anew
            failures.append(f"{file}: not the file that the card describes")
        else:
            check_sha256(file, wanted["sha256"])
            return file
    if found := _fetch(name, wanted, wanted["addresses"], failures):
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


def _fetch(
    name: str, wanted: dict[str, Any], addresses: Sequence[str], failures: list[str]
) -> Path | None:
    """Take the weights from the cache, else from the first address that has them."""
    try:
        # Here, as there may be no home, which nobody needs who names a cache.
        cached = cache_folder() / "zoo" / f"{name}-{wanted['sha256'][:16]}.h5"
        if _is_right(cached, wanted):  # before the lock, which a read-only cache does not allow
            return cached
        if not addresses:
            return None
        place = cached.with_suffix(".part")
        with made_and_locked(place, wait=True):
            if _is_right(cached, wanted):
                return cached
            for address in addresses:
                try:
                    _download(name, wanted, address, place / WEIGHTS)
                    (place / WEIGHTS).replace(cached)
                except Exception as error:  # noqa: BLE001 - each protocol fails in ways of its own
                    failures.append(f"{address}: {_reason(address, error)}")
                else:
                    place.rmdir()
                    return cached
    except (OSError, RuntimeError) as error:
        failures.append(f"the cache: {error}")
    return None


def _reason(address: str, error: Exception) -> str:
    protocol = address.partition("://")[0]
    driver = _DRIVERS.get(protocol)
    if isinstance(error, ImportError) and driver and importlib.util.find_spec(driver) is None:
        return f"{protocol}:// addresses need a package that is not installed: pip install {driver}"
    return str(error) or type(error).__name__


def _is_right(path: Path, wanted: dict[str, Any]) -> bool:
    return path.is_file() and file_sha256(path) == wanted["sha256"]


def _download(name: str, wanted: dict[str, Any], address: str, part: Path) -> None:
    """Fetch a file, going on where an earlier attempt stopped, and check it."""
    there = part.stat().st_size if part.exists() else 0
    if there:
        try:
            if there < wanted["bytes"]:
                _append(name, wanted, address, part, there)
            _accept(wanted, part)
        except Exception:
            if part.exists() and part.stat().st_size > there:
                raise  # it broke off later than last time: the next attempt goes on from here
        else:
            return
    _append(name, wanted, address, part, 0)
    _accept(wanted, part)


def _accept(wanted: dict[str, Any], part: Path) -> None:
    found = file_sha256(part)
    if found != wanted["sha256"]:
        part.unlink()  # an error page, say: nothing to go on from
        raise WeightsDamagedError(
            f"what came is not the file that the card describes: its SHA-256 is {found}"
        )


def _append(name: str, wanted: dict[str, Any], address: str, part: Path, start: int) -> None:
    total = wanted["bytes"]
    options: dict[str, Any] = {}
    if address.startswith(("http://", "https://")):
        import aiohttp  # noqa: PLC0415 - other protocols do without

        # As long as something comes; aiohttp itself gives a download five minutes in all.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
        options["client_kwargs"] = {"timeout": timeout}
        if not start:
            options["block_size"] = 0  # as one stream: not every server gives parts
    # The address first: where it does not answer, what is there stays.
    with fsspec.open(address, "rb", **options) as source, part.open("ab" if start else "wb") as to:
        if start:
            source.seek(start)
        console = rich.console.Console(stderr=True)
        with rich.progress.wrap_file(
            source,
            total - start,
            description=name,
            console=console,
            disable=not console.is_terminal,
        ) as shown:
            while to.tell() <= total and (piece := shown.read(_CHUNK)):
                to.write(piece)
