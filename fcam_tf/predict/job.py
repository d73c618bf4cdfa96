"""The job behind ``fcam localize``: photos are read, localised and written, at constant memory."""

from __future__ import annotations

import dataclasses
import itertools
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import rich.console

from fcam_tf import checks
from fcam_tf.identity import model_sha256
from fcam_tf.photos import Photo, PhotoError, read_photo, read_pixels
from fcam_tf.predict.inputs import Failure, Source, displayed, find_photos, unused_name
from fcam_tf.predict.outputs import LocalizeSettings, ResultsFile, file_state
from fcam_tf.predict.shown import localize_shown
from fcam_tf.streams import lookahead, progress

if TYPE_CHECKING:
    from fcam_tf.localization import Localization
    from fcam_tf.predict.localizer import Localizer


def localize_files(
    localizer: Localizer,
    photos: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
    out: str | os.PathLike[str] = "fcam-output",
    *,
    label: int | str | None = None,
    top: int = 1,
    heatmap: str = "png",
    batch_size: int = 8,
    overwrite: bool = False,
) -> Job:
    """Localise photos on disk: for each an overlay, its heat map and a line in results.jsonl.

    Each line is a JSON object: file (absolute), label, label_name (null without class names), score
    (probability), box ([x0, y0, x1, y1], inclusive, in the pixels of the photo as displayed, or
    null where the heat map is all zero), threshold (what was applied, relative to the map's
    maximum), overlay and heatmap (relative to ``out``; heatmap is null for "none"), width, height
    (of the photo as displayed), top (only where ``top`` > 1: the most probable classes), options
    (only where the localizer has any), bytes and modified (size of the photo's file, and time of
    its last change).

    A photo may show several classes of a classifier that gives each a sigmoid. Unless ``label`` is
    given, its lines have labels, too: a list of all whose probability is at least 0.5, or of the
    most probable one, the first of which is that of the line. Each entry has label, label_name,
    score, box, threshold, overlay and heatmap.

    Outputs appear whole or not at all, and a second job skips what is done unless the photo's file
    has another size or time since. Failures are printed to stderr as they come, one line each.

    Args:
        localizer: model, method and threshold.
        photos: files, folders (searched recursively) and globs, or one of them.
        out: output folder, made if need be.
        label: index or name of the class to localise; None is what each photo shows.
        top: how many of the most probable classes are listed.
        heatmap: "png" (16 bits, 65535 is 1), "npy" (float32), or "none".
        batch_size: photos for one call of the model.
        overwrite: make results again that are there already.

    Returns:
        The job as it ended: its counts, and what failed.

    Raises:
        ValueError: impossible option, or unknown ``label``.
        SettingsChangedError: ``out`` holds results of other settings, and ``overwrite`` is False.
        FolderBusyError: another process is writing to ``out``.
        OSError: an output cannot be written.
    """
    from fcam_tf.predict.localizer import find_label  # noqa: PLC0415 - TensorFlow

    number = None
    if label is not None:
        number = find_label(label, localizer.class_names, localizer.num_classes)
    settings = LocalizeSettings(
        localizer.classifier.name,
        model_sha256(localizer.classifier, localizer.image_size, localizer.class_names),
        localizer.method,
        localizer.threshold,
        label,
        top,
        heatmap,
        localizer.layer,
        localizer.options,
    )
    with Job(photos, out, settings, overwrite=overwrite) as job:
        job.run(localizer, number, batch_size)
    return job


class Job:
    """A localising job: planned when it is made, before any model is needed, and then run once.

    Args:
        photos: as of `localize_files`.
        out: as of `localize_files`.
        settings: what the results are to be made with.
        overwrite: as of `localize_files`.
        console: for failures and the progress bar; stderr by default.

    Attributes:
        sources: the photos that were found.
        todo: those that are not done yet.
        skipped: number of those that are.
        localized: number of photos that `run` has localised.
        failures: what has failed so far.

    Raises:
        SettingsChangedError, FolderBusyError, OSError: as of `localize_files`.
    """

    def __init__(
        self,
        photos: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
        out: str | os.PathLike[str],
        settings: LocalizeSettings,
        *,
        overwrite: bool = False,
        console: rich.console.Console | None = None,
    ) -> None:
        if isinstance(photos, str | os.PathLike):
            photos = [photos]
        self._out = Path(out)
        self._console = console or rich.console.Console(stderr=True)
        self.localized = 0
        self.failures: list[Failure] = []
        self.sources, failures, notes = find_photos(photos)
        self._results = ResultsFile(self._out, settings, overwrite=overwrite)
        for note in notes:
            self._tell(note)
        for failure in failures:
            self._fail(failure)
        self.todo = [s for s in self.sources if overwrite or not self._results.holds(s.path)]
        self.skipped = len(self.sources) - len(self.todo)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._results.close()

    def run(self, localizer: Localizer, label: int | None = None, batch_size: int = 8) -> None:
        """Localise what is to do.

        Args:
            localizer: made with the job's settings.
            label: the class that these name; None is the predicted class of each photo.
            batch_size: photos for one call of the model.

        Raises:
            ValueError: impossible ``batch_size``.
            OSError: an output cannot be written.
        """
        checks.whole("batch_size", batch_size, 1)
        made_with = {name: getattr(localizer, name) for name in ("method", "layer", "threshold")}
        forget = {str(source.path) for source in self.todo}
        self._results.start(
            forget,
            {**made_with, "label": label},
            localizer.class_names,
            several=label is None and localizer.activation == "sigmoid",
        )
        total = len(self.sources)
        bar = progress("Localising", total, self.skipped, "photos", self._console)
        with bar as advance, warnings.catch_warnings():
            # Pillow's remarks on odd metadata of photos that it reads all the same.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            for result in localize_stream(
                self._named(), localizer, self._results.write, label=label, batch_size=batch_size
            ):
                if isinstance(result, Failure):
                    self._fail(result)
                else:
                    self._results.append(result)
                    self.localized += 1
                advance()

    def _named(self) -> Iterator[Source]:
        """Yield what is to do under names that no other photo's outputs have."""
        taken = {name.casefold() for name in self._results.names()}
        for source in self.todo:
            name = unused_name(source.name, taken)
            taken.add(name.casefold())
            yield Source(source.path, name)

    def _fail(self, failure: Failure) -> None:
        self.failures.append(failure)
        self._tell(f"fcam: {displayed(failure.file)}: {failure.reason}")

    def _tell(self, line: str) -> None:
        """Print a line with names of files as it is."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True, emoji=False)


class _Item(NamedTuple):
    source: Source
    state: dict[str, float]  # of the file, as it was before it was read
    photo: Photo


def localize_stream(
    sources: Iterable[Source],
    localizer: Localizer,
    write: Callable[[str, Photo, Localization], dict[str, Any]],
    *,
    label: int | None,
    batch_size: int,
) -> Iterator[dict[str, Any] | Failure]:
    """Localise photos one after the other, holding no more than the next few in memory.

    Photos are read and outputs written in threads while the model runs in this one. Each photo
    gives its record, once its files are written (`ResultsFile.write`), or why there is none.
    """

    def read(source: Source) -> _Item | Failure:
        try:
            state = file_state(source.path)
            return _Item(source, state, read_photo(source.path, localizer.image_size))
        except PhotoError as error:
            return Failure(str(source.path), str(error))

    def written(found: tuple[_Item, Localization] | Failure) -> dict[str, Any] | Failure:
        if isinstance(found, Failure):
            return found
        item, result = found
        photo = item.photo
        if localizer.refine:
            with refining:  # takes all cores and much memory
                try:
                    photo = enlarged(item)
                except PhotoError as error:  # it has changed since
                    return Failure(str(item.source.path), str(error))
                result = refined(result, photo.view, localizer.threshold)
        record = write(item.source.name, photo, result)
        return {"file": str(item.source.path), **record, **item.state}

    refining = threading.Lock()
    pool = ThreadPoolExecutor(min(8, 1 + (os.cpu_count() or 1)))
    try:
        reads = lookahead(pool, read, sources, 2 * batch_size)
        localized = _localize(reads, localizer.unrefined(), label, batch_size)
        yield from lookahead(pool, written, localized, 2 * batch_size)
    finally:
        pool.shutdown(cancel_futures=True)


def enlarged(item: _Item) -> Photo:
    """Return a photo to be drawn on at its own resolution, up to `MAX_PIXELS`.

    It is read anew: the photos that wait for the model would be too large together.

    Raises:
        PhotoError: the photo cannot be read.
    """
    from fcam_tf.refine import MAX_PIXELS  # noqa: PLC0415 - TensorFlow

    return dataclasses.replace(item.photo, view=read_pixels(item.source.path, most=MAX_PIXELS))


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
    reads: Iterator[_Item | Failure], localizer: Localizer, label: int | None, batch_size: int
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
        yield from zip(batch, localize_shown(localizer, images, label), strict=True)
        yield from failures
        failures.clear()
    yield from failures
