"""Photos through a model: read, localised and written at the same time, at constant memory."""

from __future__ import annotations

import dataclasses
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fcam_tf.photos import Photo, PhotoError, read_photo, read_pixels
from fcam_tf.predict.inputs import Failure, Source
from fcam_tf.predict.outputs import file_state
from fcam_tf.predict.shown import localize_shown
from fcam_tf.streams import lookahead

if TYPE_CHECKING:
    from fcam_tf.localization import Localization
    from fcam_tf.predict.localizer import Localizer


class _Item(NamedTuple):
    source: Source
    state: dict[str, float]  # of the file, as it was before it was read
    photo: Photo


def localize_stream(
    sources: Iterable[Source],
    localizer: Localizer,
    write: Callable[[str, Photo, Localization, np.ndarray | None], dict[str, Any]],
    *,
    labels: Sequence[int] = (),
    top: int | None = None,
    view: bool = True,
    pixels: bool = False,
    batch_size: int,
) -> Iterator[dict[str, Any] | Failure]:
    """Localise photos one after the other, holding no more than the next few in memory.

    Photos are read and outputs written in threads while the model runs in this one. Each photo
    gives its record, once its files are written (`ResultsFile.write`), or why there is none.

    Args:
        sources: the photos.
        localizer: model, method and threshold.
        write: `ResultsFile.write`.
        labels: see `localize_shown`.
        top: see there.
        view: whether ``write`` draws on the photo.
        pixels: whether ``write`` gets the photo's pixels to cut from, see `enlarged`.
        batch_size: photos for one call of the model.
    """

    def read(source: Source) -> _Item | Failure:
        try:
            state = file_state(source.path)
            photo = read_photo(
                source.path, localizer.image_size, view=view and not localizer.refine
            )
            return _Item(source, state, photo)
        except PhotoError as error:
            return Failure(str(source.path), str(error))

    def written(found: tuple[_Item, Localization] | Failure) -> dict[str, Any] | Failure:
        if isinstance(found, Failure):
            return found
        item, result = found
        photo, large = item.photo, None
        try:
            if localizer.refine:
                with refining:  # takes all cores and much memory
                    large = enlarged(item.source.path)
                    photo = dataclasses.replace(photo, view=large)
                    result = refined(result, large, localizer.threshold)
            elif pixels:
                large = enlarged(item.source.path)
        except PhotoError as error:  # it has changed since
            return Failure(str(item.source.path), str(error))
        record = write(item.source.name, photo, result, large)
        origin = {"source": item.source.origin} if item.source.origin else {}
        return {"file": str(item.source.path), **origin, **record, **item.state}

    refining = threading.Lock()
    pool = ThreadPoolExecutor(min(8, 1 + (os.cpu_count() or 1)))
    try:
        reads = lookahead(pool, read, sources, 2 * batch_size)
        localized = _localize(reads, localizer.unrefined(), labels, top, batch_size)
        yield from lookahead(pool, written, localized, 2 * batch_size)
    finally:
        pool.shutdown(cancel_futures=True)


def enlarged(path: Path) -> np.ndarray:
    """Return the pixels of a photo at its own resolution, up to `MAX_PIXELS`.

    It is read anew: the photos that wait for the model would be too large together.

    Raises:
        PhotoError: the photo cannot be read.
    """
    from fcam_tf.refine import MAX_PIXELS  # noqa: PLC0415 - TensorFlow

    return read_pixels(path, most=MAX_PIXELS)


def refined(found: Localization, pixels: np.ndarray, threshold: str | float) -> Localization:
    """Align what was found in a photo with its pixels (H, W, 3), in whose frame the result is."""
    from fcam_tf.refine import refine_maps  # noqa: PLC0415 - TensorFlow

    maps = found.heatmaps
    if (maps == maps[:1]).all():  # of a decoder: one for all classes
        maps = np.repeat(refine_maps(maps[:1], pixels[None]), len(maps), 0)
    else:
        maps = np.concatenate([refine_maps(each[None], pixels[None]) for each in maps])
    return found.from_heatmaps(maps, found.probabilities, found.labels, threshold)


def _localize(
    reads: Iterator[_Item | Failure],
    localizer: Localizer,
    labels: Sequence[int],
    top: int | None,
    batch_size: int,
) -> Iterator[tuple[_Item, Localization] | Failure]:
    failures: list[Failure] = []

    def readable() -> Iterator[_Item]:
        # Batches are filled with readable photos only: another shape would be traced anew.
        for item in reads:
            if isinstance(item, Failure):
                failures.append(item)
            else:
                yield item

    photos = readable()
    while batch := list(itertools.islice(photos, batch_size)):
        images = np.stack([item.photo.pixels for item in batch])
        yield from zip(batch, localize_shown(localizer, images, labels, top), strict=True)
        yield from failures
        failures.clear()
    yield from failures
