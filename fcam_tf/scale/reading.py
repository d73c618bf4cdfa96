"""The photos of a shard, brought to the machine that works on it."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import IO

import fsspec

from fcam_tf.addresses import stream_options
from fcam_tf.names import line_of
from fcam_tf.photos import SUFFIXES
from fcam_tf.predict.archives import MAX_BYTES, DamagedError, copy, damage
from fcam_tf.predict.inputs import Failure
from fcam_tf.scale.inputs import FILES, ZIP, Shard, is_remote
from fcam_tf.streams import lookahead

_AHEAD = 16  # photos fetched before they are needed
_IMAGES = ("image/encoded", "image")  # features that hold a photo's file, and its name
_NAMES = ("image/filename", "file_name", "filename")


def read_photos(shard: Shard, folder: Path) -> Iterator[tuple[str, Path] | Failure]:
    """Yield each photo of a shard in its order, or why it is not there.

    Args:
        shard: the shard.
        folder: where photos are put that are not files here; the caller removes them.

    Yields:
        The photo's name, "ADDRESS/MEMBER" of a zip file and "ADDRESS/NUMBER" or
        "ADDRESS/NUMBER/NAME" of a TFRecord file, and the file to read.

    Raises:
        OSError: a file cannot be had now, which may be different another time.
    """
    if shard.kind == FILES:
        yield from _files(shard, folder)
    elif shard.kind == ZIP:
        yield from _members(shard, folder)
    else:
        yield from _records(shard, folder)


def _files(shard: Shard, folder: Path) -> Iterator[tuple[str, Path] | Failure]:
    def fetched(numbered: tuple[int, str]) -> tuple[str, Path] | Failure:
        number, address = numbered
        if not is_remote(address):
            return address, Path(address)
        place = folder / f"{number}{PurePosixPath(address).suffix}"
        try:
            with fsspec.open(address, "rb", **stream_options(address)) as source:
                _put(source, place)
        except (FileNotFoundError, PermissionError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError)
            return Failure(address, "there is no such file" if missing else line_of(error))
        return address, place

    pool = ThreadPoolExecutor(min(_AHEAD, 4 * (os.cpu_count() or 1)))
    try:
        yield from lookahead(pool, fetched, enumerate(shard.entries), _AHEAD)
    finally:
        pool.shutdown(cancel_futures=True)


def _members(shard: Shard, folder: Path) -> Iterator[tuple[str, Path] | Failure]:
    options = stream_options(shard.address, whole=False)
    with fsspec.open(shard.address, "rb", **options) as file, zipfile.ZipFile(file) as archive:
        for number, member in enumerate(shard.entries):
            name, place = f"{shard.address}/{member}", folder / f"{number}{Path(member).suffix}"
            try:
                with damage(), archive.open(member) as source:
                    _put(source, place)
            except (DamagedError, ValueError) as error:
                yield Failure(name, f"it cannot be read: {line_of(error)}")
            else:
                yield name, place


def _records(shard: Shard, folder: Path) -> Iterator[tuple[str, Path] | Failure]:
    import tensorflow as tf  # noqa: PLC0415 - the model has loaded it
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - comes with TensorFlow

    from fcam_tf.data.pipeline import untuned  # noqa: PLC0415 - TensorFlow

    path = Path(shard.address)
    if is_remote(shard.address):
        path = folder / "records"
        with fsspec.open(shard.address, "rb", **stream_options(shard.address)) as source:
            _put(source, path, 2**63)
    number = -1
    try:
        records = untuned(tf.data.TFRecordDataset(str(path)))
        for number, record in enumerate(records.as_numpy_iterator()):
            try:
                features = tf.train.Example.FromString(record).features.feature
            except DecodeError:
                yield Failure(f"{shard.address}/{number}", "this record is no tf.train.Example")
                continue
            name = next((_text(features[key].bytes_list) for key in _NAMES if key in features), "")
            file = f"{shard.address}/{number}{name and f'/{name}'}"
            values = [features[key].bytes_list.value for key in _IMAGES if key in features]
            if not values or len(values[0]) != 1:
                yield Failure(file, f"there is no photo in this record ({' or '.join(_IMAGES)})")
                continue
            suffix = PurePosixPath(name).suffix
            place = folder / f"{number}{suffix if suffix.lower() in SUFFIXES else ''}"
            place.write_bytes(values[0][0])
            yield file, place
    except tf.errors.DataLossError as error:
        reason = f"it cannot be read to its end: {line_of(error).partition(' [')[0]}"
        yield Failure(f"{shard.address}/{number + 1}", reason)


def _put(source: IO[bytes], place: Path, most: int = MAX_BYTES) -> None:
    with place.open("wb") as to:
        copy(source, to, most)


def _text(values: object) -> str:
    return b"".join(values.value[:1]).decode("utf-8", "replace")  # type: ignore[attr-defined]
