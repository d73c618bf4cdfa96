"""Finding the weights of an entry: on this machine, or at an address."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import fsspec
import rich.progress

from fcam_tf.zoo.cards import Card
from fcam_tf.zoo.entries import ZOO
from fcam_tf.zoo.weights import WEIGHTS

_CHUNK = 2**20  # bytes


class WeightsDamagedError(OSError):
    """A weights file is not the one that its card describes."""


def find_weights(card: Card, folder: Path) -> Path:
    """Return a file with the weights of an entry, its SHA-256 checked.

    Looked up in this order: the folder or address that the environment variable FCAM_ZOO names,
    the entry's own folder, the cache (``$FCAM_CACHE``, or ``~/.cache/fcam_tf``), the addresses in
    the card. What comes from an address goes into the cache.

    Args:
        card: of the entry; it has weights.
        folder: of the entry.

    Raises:
        FileNotFoundError: they are nowhere; the message lists where was looked and why it failed.
        WeightsDamagedError: a file was found, and is another.
    """
    name, wanted = card["name"], card["weights"]
    zoo = os.environ.get(ZOO, "")
    local = [Path(zoo, name, WEIGHTS)] if zoo and "://" not in zoo else []
    for path in (*local, folder / WEIGHTS):
        if path.is_file():
            check_sha256(path, wanted["sha256"])
            return path
    cached = _cache() / f"{name}-{wanted['sha256'][:16]}.h5"
    addresses = [f"{zoo.rstrip('/')}/{name}/{WEIGHTS}"] if "://" in zoo else []
    addresses += wanted["addresses"]
    failures = [f"{path}: not there" for path in (*local, folder / WEIGHTS)]
    cached.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{cached}.lock"):
        if cached.is_file() and _sha256(cached) == wanted["sha256"]:
            return cached
        for address in addresses:
            try:
                _download(address, cached, wanted)
            except Exception as error:  # noqa: BLE001 - each protocol fails in ways of its own
                failures.append(f"{address}: {error}")
            else:
                return cached
    raise FileNotFoundError(
        f"the weights of {name} are nowhere to be had: {'; '.join(failures)}. Give a file with "
        f"`weights`, or a folder or address that holds {name}/{WEIGHTS} with {ZOO}."
    )


def check_sha256(path: Path, expected: str) -> None:
    """Check a file against its hash.

    Raises:
        WeightsDamagedError: it is another file.
    """
    found = _sha256(path)
    if found != expected:
        raise WeightsDamagedError(
            f"{path} is not the file that its card describes: its SHA-256 is {found}, not "
            f"{expected}. It is damaged or was changed; remove it to have it fetched again."
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cache() -> Path:
    return Path(os.environ.get("FCAM_CACHE", Path.home() / ".cache" / "fcam_tf")) / "zoo"


def _download(address: str, path: Path, wanted: dict[str, Any]) -> None:
    """Fetch a file, going on where an earlier attempt stopped; it appears whole and checked."""
    part = path.with_name(f"{path.name}.part")
    there = part.stat().st_size if part.exists() else 0
    if there > wanted["bytes"]:
        part.unlink()
        there = 0
    try:
        _append(address, part, there, wanted["bytes"])
    except ValueError:  # what fsspec raises where a server gives no part of a file
        if not there:
            raise
        part.unlink()
        _append(address, part, 0, wanted["bytes"])
    try:
        check_sha256(part, wanted["sha256"])
    except WeightsDamagedError:
        if part.stat().st_size >= wanted["bytes"]:
            part.unlink()  # complete and wrong: nothing to go on from
        raise
    part.replace(path)


def _append(address: str, part: Path, start: int, total: int) -> None:
    # From the beginning as one stream, as not every server gives parts.
    stream = {"block_size": 0} if not start and address.startswith("http") else {}
    with fsspec.open(address, "rb", **stream) as source, part.open("ab") as target:
        if start:
            source.seek(start)
        with _progress(address, total, start) as advance:
            while piece := source.read(_CHUNK):
                target.write(piece)
                advance(len(piece))
                if target.tell() > total:
                    break


@contextlib.contextmanager
def _progress(address: str, total: int, done: int) -> Iterator[Any]:
    console = rich.console.Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with rich.progress.Progress(
        rich.progress.TextColumn(address.rsplit("/", 2)[-2]),
        rich.progress.BarColumn(),
        rich.progress.DownloadColumn(),
        rich.progress.TransferSpeedColumn(),
        console=console,
    ) as bar:
        task = bar.add_task("", total=total, completed=done)
        yield lambda count: bar.advance(task, count)
