"""The stages a photo passes on its way to a result: read, localise, write."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from fcam_tf.photos import Photo, PhotoError, read_photo
from fcam_tf.predict.sources import Failure, Source
from fcam_tf.streams import lookahead

if TYPE_CHECKING:
    from fcam_tf.localization import Localization
    from fcam_tf.predict.localizer import Localizer
    from fcam_tf.predict.outputs import Outputs


@dataclasses.dataclass(frozen=True)
class _Read:
    source: Source
    modified: float
    photo: Photo


@dataclasses.dataclass(frozen=True)
class _Localized:
    read: _Read
    result: Localization


def localize_stream(
    sources: Iterable[Source],
    localizer: Localizer,
    outputs: Outputs,
    *,
    label: int | None,
    batch_size: int,
) -> Iterator[dict[str, Any] | Failure]:
    """Localise photos one after the other, holding no more than the next few in memory.

    Photos are read and outputs written in threads while the model runs in this one.

    Args:
        sources: the photos.
        localizer: model, method and threshold.
        outputs: writes the files of a photo.
        label: the class to localise; None is the predicted class of each photo.
        batch_size: photos for one call of the model.

    Yields:
        For each photo its line for results.jsonl, its files being written, or why there is none.

    Raises:
        OSError: an output cannot be written.
    """

    def read(source: Source) -> _Read | Failure:
        try:
            modified = source.path.stat().st_mtime if source.path.exists() else 0.0
            return _Read(source, modified, read_photo(source.path, localizer.input_size))
        except PhotoError as error:
            return Failure(str(source.path), str(error))

    def write(item: _Localized | Failure) -> dict[str, Any] | Failure:
        if isinstance(item, Failure):
            return item
        source = item.read.source
        record = outputs.write(source.name, item.read.photo, item.result)
        return {"file": str(source.path), **record, "modified": item.read.modified}

    pool = ThreadPoolExecutor(min(8, 1 + (os.cpu_count() or 1)))
    try:
        reads = lookahead(pool, read, sources, 2 * batch_size)
        localized = _localize(reads, localizer, label, batch_size)
        yield from lookahead(pool, write, localized, 2 * batch_size)
    finally:
        pool.shutdown(cancel_futures=True)


def _localize(
    reads: Iterator[_Read | Failure], localizer: Localizer, label: int | None, batch_size: int
) -> Iterator[_Localized | Failure]:
    failures: list[Failure] = []

    def readable() -> Iterator[_Read]:
        # Batches are filled with readable photos only: another shape would be traced anew.
        for item in reads:
            if isinstance(item, Failure):
                failures.append(item)
            else:
                yield item

    photos = readable()
    while batch := list(itertools.islice(photos, batch_size)):
        images = np.stack([item.photo.pixels for item in batch])
        labels = None if label is None else np.full(len(batch), label)
        result = localizer(images, labels)
        for index, item in enumerate(batch):
            yield _Localized(item, result[index])
        yield from failures
        failures.clear()
    yield from failures
