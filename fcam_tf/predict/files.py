"""The job behind ``fcam localize``: from photos on disk to results, at constant memory."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

import rich.console

from fcam_tf.identity import model_sha256
from fcam_tf.predict.labels import find_label
from fcam_tf.predict.outputs import Outputs
from fcam_tf.predict.pipeline import localize_stream
from fcam_tf.predict.results import ResultsFile, Settings
from fcam_tf.predict.sources import (
    HEATMAP_SUFFIXES,
    Failure,
    Source,
    displayed,
    find_photos,
    unused_name,
)
from fcam_tf.streams import progress

if TYPE_CHECKING:
    from fcam_tf.predict.localizer import Localizer


@dataclasses.dataclass(frozen=True)
class Summary:
    """How a job ended.

    Attributes:
        localized: number of photos localised by this job.
        skipped: number of photos that were done before.
        failures: what could not be localised.
    """

    localized: int
    skipped: int
    failures: tuple[Failure, ...]


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
) -> Summary:
    """Localise photos on disk: for each an overlay, its heat map and a line in results.jsonl.

    Each line is a JSON object: file (absolute), label, label_name (null without class names), score
    (softmax probability), box ([x0, y0, x1, y1], inclusive, in the pixels of the photo as
    displayed, or null where the heat map is all zero), threshold (what was applied, relative to the
    map's maximum), width, height (of the photo as displayed), top (only where ``top`` > 1: the most
    probable classes), overlay and heatmap (relative to ``out``; heatmap is null for "none") and
    modified (time of the photo's last change).

    Outputs appear whole or not at all, and a second job skips what is done unless the photo has
    changed since. Failures are printed to stderr as they come, one line each.

    Args:
        localizer: model, method and threshold.
        photos: files, folders (searched recursively) and globs, or one of them.
        out: output folder, made if need be.
        label: index or name of the class to localise; None is the predicted class of each photo.
        top: how many of the most probable classes are listed.
        heatmap: "png" (16 bits, 65535 is 1), "npy" (float32), or "none".
        batch_size: photos for one call of the model.
        overwrite: make results anew that are there already.

    Returns:
        The counts, and what failed.

    Raises:
        ValueError: impossible option, or unknown ``label``.
        SettingsChangedError: ``out`` holds results of other settings, and ``overwrite`` is False.
        FolderBusyError: another process is writing to ``out``.
        OSError: an output cannot be written.
    """
    settings = Settings(
        localizer.classifier.name,
        model_sha256(localizer.classifier, localizer.input_size, localizer.class_names),
        localizer.method,
        localizer.threshold,
        label,
        top,
        heatmap,
        localizer.layer,
    )
    with Job(photos, out, settings, overwrite=overwrite) as job:
        job.run(localizer, batch_size)
        return Summary(job.localized, job.skipped, tuple(job.failures))


class Job:
    """A localising job: planned when it is made, before any model is needed, and then run once.

    Args:
        photos: as of `localize_files`.
        out: as of `localize_files`.
        settings: what the results are to be made with.
        overwrite: as of `localize_files`.
        console: where failures and the progress bar go; stderr by default.

    Attributes:
        sources: the photos that were found.
        todo: those that are not done yet.
        skipped: number of those that are.
        localized: number of photos that `run` has localised.
        failures: what has failed so far.

    Raises:
        ValueError: impossible setting.
        SettingsChangedError: as of `localize_files`.
        FolderBusyError: as of `localize_files`.
        OSError: as of `localize_files`.
    """

    def __init__(
        self,
        photos: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
        out: str | os.PathLike[str],
        settings: Settings,
        *,
        overwrite: bool = False,
        console: rich.console.Console | None = None,
    ) -> None:
        if settings.heatmap not in HEATMAP_SUFFIXES:
            raise ValueError(
                f"`heatmap` must be one of {', '.join(HEATMAP_SUFFIXES)}. "
                f"Received: {settings.heatmap!r}"
            )
        if settings.top < 1:
            raise ValueError(f"`top` must be at least 1. Received: {settings.top}")
        if isinstance(photos, str | os.PathLike):
            photos = [photos]
        self._settings = settings
        self._out = Path(out)
        self._console = console or rich.console.Console(stderr=True)
        self.localized = 0
        self.failures: list[Failure] = []
        self.sources, failures, notes = find_photos(photos)
        self._results = ResultsFile(self._out, settings, overwrite=overwrite)
        for note in notes:
            self._console.print(note, markup=False, highlight=False, soft_wrap=True)
        for failure in failures:
            self._fail(failure)
        self.todo = [s for s in self.sources if overwrite or not self._is_finished(s)]
        self.skipped = len(self.sources) - len(self.todo)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._results.close()

    def run(self, localizer: Localizer, batch_size: int = 8) -> None:
        """Localise what is to do.

        Args:
            localizer: made with the job's settings.
            batch_size: photos for one call of the model.

        Raises:
            ValueError: impossible ``batch_size`` or unknown label.
            OSError: an output cannot be written.
        """
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1. Received: {batch_size}")
        label = self._settings.label
        if label is not None:
            label = find_label(label, localizer.class_names, localizer.num_classes)
        self._results.start(forget={str(source.path) for source in self.todo})
        outputs = Outputs(
            self._out, self._settings.heatmap, self._settings.top, localizer.class_names
        )
        total = len(self.sources)
        bar = progress("Localising", total, self.skipped, "photos", self._console)
        with bar as advance, warnings.catch_warnings():
            # Pillow's remarks on odd metadata of photos that it reads all the same.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            for result in localize_stream(
                self._named(), localizer, outputs, label=label, batch_size=batch_size
            ):
                if isinstance(result, Failure):
                    self._fail(result)
                else:
                    self._results.append(result)
                    self.localized += 1
                advance()

    def _is_finished(self, source: Source) -> bool:
        finished = self._results.finished.get(str(source.path))
        return (
            finished is not None
            and source.path.exists()
            and source.path.stat().st_mtime == finished.modified
            and all((self._out / name).exists() for name in finished.outputs)
        )

    def _named(self) -> Iterator[Source]:
        """Yield what is to do under names that no other photo's outputs have."""
        taken = {finished.name.casefold() for finished in self._results.finished.values()}
        for source in self.todo:
            name = unused_name(source.name, taken)
            taken.add(name.casefold())
            yield Source(source.path, name)

    def _fail(self, failure: Failure) -> None:
        self.failures.append(failure)
        line = f"fcam: {displayed(failure.file)}: {failure.reason}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True, emoji=False)
