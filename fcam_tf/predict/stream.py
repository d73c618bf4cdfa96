"""Reading, localising and writing photos at the same time, with constant memory."""

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
    calls: int = 1,
) -> Iterator[dict[str, Any] | Failure]:
    """Localise photos one after the other, keeping only the next few in memory.

    Threads read photos and write outputs. The model runs in the calling thread or, if it is called
    several times at once, in threads of its own. The function yields each photo's record once its
    files are written (`ResultsFile.write`), or the reason why there is none.

    Args:
        sources: the photos.
        localizer: model, method and threshold.
        write: `ResultsFile.write`.
        labels: see `localize_shown`.
        top: see `localize_shown`.
        view: whether ``write`` draws on the photo.
        pixels: whether ``write`` gets the photo's pixels to cut from, see `enlarged`.
        batch_size: photos for one call of the model.
        calls: how many calls of the model run at once, see `Job.run`.
    """
    model = localizer.unrefined()

    def read(source: Source) -> _Item | Failure:
        try:
            state = file_state(source.path)
            photo = read_photo(
                source.path, localizer.image_size, view=view and not localizer.refine
            )
            return _Item(source, state, photo)
        except PhotoError as error:
            return Failure(str(source.path), str(error))

    def localized(
        batch: tuple[list[_Item], list[Failure]],
    ) -> list[tuple[_Item, Localization] | Failure]:
        items, failures = batch
        if not items:
            return [*failures]
        images = np.stack([item.photo.pixels for item in items])
        found = localize_shown(model, images, labels, top)
        return [*zip(items, found, strict=True), *failures]

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
    models = ThreadPoolExecutor(calls)
    try:
        reads = lookahead(pool, read, sources, 2 * batch_size)
        batches = _batches(reads, batch_size)
        # The first batch alone, as it traces the graph that the others use.
        alone = map(localized, itertools.islice(batches, 1 if calls > 1 else None))
        answers = itertools.chain(alone, lookahead(models, localized, batches, calls + 1))
        found = itertools.chain.from_iterable(answers)
        yield from lookahead(pool, written, found, 2 * batch_size)
    finally:
        models.shutdown(cancel_futures=True)
        pool.shutdown(cancel_futures=True)


def enlarged(path: Path) -> np.ndarray:
    """Return the pixels of a photo at its own resolution, up to `MAX_PIXELS`.

    It is read again, because all photos that wait for the model would together be too large.

    Raises:
        PhotoError: the photo cannot be read.
    """
    from fcam_tf.refine import MAX_PIXELS  # noqa: PLC0415 - TensorFlow

    return read_pixels(path, most=MAX_PIXELS)


def refined(found: Localization, pixels: np.ndarray, threshold: str | float) -> Localization:
    """Align what was found in a photo with its pixels (H, W, 3); the result is in their frame."""
    from fcam_tf.refine import refine_maps  # noqa: PLC0415 - TensorFlow

    maps = found.heatmaps
    if (maps == maps[:1]).all():  # of a decoder: one for all classes
        maps = np.repeat(refine_maps(maps[:1], pixels[None]), len(maps), 0)
    else:
        maps = np.concatenate([refine_maps(each[None], pixels[None]) for each in maps])
    return found.from_heatmaps(maps, found.probabilities, found.labels, threshold)


def _batches(
    reads: Iterable[_Item | Failure], size: int
) -> Iterator[tuple[list[_Item], list[Failure]]]:
    """Yield photos in batches of one size, as another would be traced anew, and what failed.

    The last batch may be smaller, and empty.
    """
    items: list[_Item] = []
    failures: list[Failure] = []
    for each in reads:
        if isinstance(each, Failure):
            failures.append(each)
        else:
            items.append(each)
        if len(items) == size:
            yield items, failures
            items, failures = [], []
    if items or failures:
        yield items, failures
