"""Fetching the weights of an entry from an address into the cache."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import rich.progress

from fcam_tf.addresses import stream_options
from fcam_tf.cache import cache_folder
from fcam_tf.claim import made_and_locked
from fcam_tf.identity import file_sha256
from fcam_tf.zoo.entries import WEIGHTS

_CHUNK = 2**20  # bytes
_DRIVERS = {"gs": "gcsfs", "gcs": "gcsfs", "s3": "s3fs"}  # what fsspec needs, by protocol


class WeightsDamagedError(OSError):
    """A weights file is not the one that its card describes."""


def fetch(
    name: str, wanted: dict[str, Any], addresses: Sequence[str], failures: list[str]
) -> Path | None:
    """Get weights from the cache, else from the first address that has them.

    Args:
        name: name of the entry.
        wanted: the weights that its card describes.
        addresses: where they may be; if empty, only the cache is searched.
        failures: a list that gets one line for each place that fails.

    Returns:
        The file in the cache, after checking its SHA-256; None if the weights are not available.
    """
    try:
        # Here, as there may be no home, which nobody needs who names a cache.
        cached = cache_folder() / "zoo" / f"{name}-{wanted['sha256'][:16]}.weights"
        if is_right(cached, wanted):  # before the lock, which a read-only cache does not allow
            return cached
        if not addresses:
            return None
        place = cached.with_suffix(".part")
        with made_and_locked(place, wait=True):
            if is_right(cached, wanted):
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


def is_right(path: Path, wanted: dict[str, Any]) -> bool:
    """Tell whether a file exists and is the one that a card describes."""
    return (
        path.is_file()
        and path.stat().st_size == wanted["bytes"]
        and file_sha256(path) == wanted["sha256"]
    )


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
    options = stream_options(address, whole=not start)
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
