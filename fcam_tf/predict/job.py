"""The job behind ``fcam localize``: what is still to do, what is done, and what failed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import rich.console

from fcam_tf import checks
from fcam_tf.identity import model_sha256
from fcam_tf.names import MIN_AREA
from fcam_tf.predict import inputs, video
from fcam_tf.predict.annotations import check_forms, masks_for, write_annotations
from fcam_tf.predict.brought import INPUTS, bring_in, is_address
from fcam_tf.predict.files import Files, named_after
from fcam_tf.predict.inputs import Failure, Source, displayed, find_photos, unused_name
from fcam_tf.predict.outputs import (
    LocalizeSettings,
    ResultsFile,
    find_labels,
    read_results,
)
from fcam_tf.predict.stream import localize_stream
from fcam_tf.streams import progress

if TYPE_CHECKING:
    from fcam_tf.predict.localizer import Localizer


def localize_files(
    localizer: Localizer,
    photos: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
    out: str | os.PathLike[str] = "fcam-output",
    *,
    label: int | str | Sequence[int | str] | None = None,
    top: int | None = None,
    objects: int | None = 1,
    min_area: float = MIN_AREA,
    batch_size: int = 8,
    overwrite: bool = False,
    exclude: Sequence[str] = (),
    fps: float = 1.0,
    annotations: Sequence[str] = (),
    table: Sequence[str] = (),
    **files: Any,
) -> Job:
    """Localise photos: each gets an overlay, a heat map and a line in results.jsonl.

    Photos that are not local files are first fetched into ``out``/inputs, see `bring_in`.

    Each line is a JSON object: file (absolute), source (only for a photo that was fetched: where it
    comes from), name (what its files begin with), width and height (of the photo as displayed),
    objects, options (only if the localizer has any), bytes and modified (size of the photo's file,
    and time of its last change).

    ``objects`` is a list of at least one object, class by class, each class's largest region first.
    Each has label, label_name (null without class names), score (the class's probability), box
    ([x0, y0, x1, y1], inclusive, in the pixels of the photo as displayed), area (fraction of the
    photo's pixels), heat (mean of the heat map over it, in [0, 1]), threshold (what was applied,
    relative to the map's maximum), overlay and heatmap (files of the class, relative to ``out``, or
    null), and what ``files`` requests for each object: mask, soft_mask, crop, cutout (files), rle.
    If the heat map of a class is all zero, box is null, area and heat are 0, and crop and cutout
    are null. The line itself also has all keys of its first object.

    The classes are those of ``label``, the ``top`` most probable ones, or those that the photo
    shows: the predicted class or, for a classifier with one sigmoid per class, all classes whose
    probability is at least 0.5, or else the most probable one.

    Outputs appear completely or not at all. A second job skips photos that are done, unless the
    size or time of the photo's file has changed. Failures are printed to stderr as they happen, one
    line each.

    Args:
        localizer: model, method and threshold.
        photos: files, folders (searched recursively), globs, addresses, archives, videos and "-"
            (standard input), or one of them.
        out: output folder, created if needed.
        label: index or name of the class to localise, or several.
        top: how many of the most probable classes to localise.
        objects: the maximum number of objects per class, which are connected regions of its map
            above the threshold; None is all.
        min_area: the minimum area of an object, as a fraction of the photo's; the largest object is
            always kept.
        batch_size: photos for one call of the model.
        overwrite: whether to make results again that already exist.
        exclude: patterns of photos to leave out, see `inputs.find_photos`.
        fps: frames taken per second of video, from 0 to 1000. A video's overlays also become a
            video, such as clip.mp4_overlay.mp4.
        annotations: formats of data sets to write from all results in ``out``, see
            `write_annotations`; "coco" adds "rle" to ``mask``, because its masks are run lengths.
        table: formats of tables to write from them, "csv" or "parquet".
        **files: what to write in addition, see `fcam_tf.predict.Files`.

    Returns:
        The job as it ended: its counts, and what failed.

    Raises:
        ValueError: an option is impossible, or ``label`` is unknown.
        ImportError: a format needs a package that is not installed.
        SettingsChangedError: ``out`` contains results of other settings, and ``overwrite`` is
            False.
        FolderBusyError: another process is writing to ``out``.
        OSError: an output cannot be written.

    Examples:
        >>> localizer = fcam_tf.predict.Localizer(model)
        >>> job = fcam_tf.predict.localize_files(localizer, "pets/cat", "found", mask=["png"])
        >>> job.localized
        2
        >>> sorted(path.name for path in Path("found").iterdir())[:3]
        ['0_heatmap.png', '0_mask.png', '0_overlay.png']
    """
    check_forms(annotations, table)
    files["mask"] = [*files.get("mask", ()), *masks_for(annotations)]
    given = [label] if isinstance(label, int | str) else list(label or ())
    settings = LocalizeSettings(
        localizer.classifier.name,
        model_sha256(localizer.classifier, localizer.image_size, localizer.class_names),
        localizer.method,
        localizer.threshold,
        label=given,
        top=top,
        objects=objects,
        min_area=min_area,
        files=Files(**files),
        layer=localizer.layer,
        options=localizer.options,
    )
    labels = find_labels(given, localizer)
    with Job(photos, out, settings, overwrite=overwrite, exclude=exclude, fps=fps) as job:
        job.run(localizer, labels, batch_size)
        write_annotations(out, annotations, table)
    return job


class Job:
    """A localisation job: planned when it is created, before any model is needed, then run once.

    Args:
        photos: as in `localize_files`.
        out: as in `localize_files`.
        settings: the settings of the results.
        overwrite: as in `localize_files`.
        exclude: as in `localize_files`.
        fps: as in `localize_files`.
        console: for failures and the progress bar; stderr by default.

    Attributes:
        sources: the photos that were found.
        todo: photos that are not done yet.
        skipped: number of photos that were already done.
        localized: number of photos that `run` has localised.
        failures: failures so far.

    Raises:
        SettingsChangedError, FolderBusyError, OSError: see `localize_files`.
    """

    def __init__(
        self,
        photos: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
        out: str | os.PathLike[str],
        settings: LocalizeSettings,
        *,
        overwrite: bool = False,
        exclude: Sequence[str] = (),
        fps: float = 1.0,
        console: rich.console.Console | None = None,
    ) -> None:
        if isinstance(photos, str | os.PathLike):
            photos = [photos]
        self._out, self._settings = Path(out), settings
        self._console = console or rich.console.Console(stderr=True)
        self.localized = 0
        self.failures: list[Failure] = []
        checks.number("fps", fps, "(0, 1000]")
        self._fps = fps
        self._results = ResultsFile(self._out, settings, overwrite=overwrite)
        with contextlib.ExitStack() as on_error:
            on_error.callback(self._results.close)
            self._find(photos, exclude, overwrite)
            on_error.pop_all()
        self.todo = [s for s in self.sources if overwrite or not self._results.holds(s.path)]
        self.skipped = len(self.sources) - len(self.todo)

    def _find(
        self, photos: Iterable[str | os.PathLike[str]], exclude: Sequence[str], afresh: bool
    ) -> None:
        """Bring in what is elsewhere, and list the photos that there are then."""
        self._kept = Path(os.path.abspath(self._out / INPUTS))  # noqa: PTH100 - keeps links
        self._brought = bring_in(photos, self._kept, fps=self._fps, afresh=afresh, tell=self._tell)
        sources, failures, notes = find_photos(self._brought.arguments, exclude, self._kept)
        self.sources = [
            dataclasses.replace(each, origin=self._brought.origin_of(each.path)) for each in sources
        ]
        for note in notes:
            self._tell(note)
        for failure in (*self._brought.failures, *failures):
            self._fail(failure)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._results.close()

    def run(
        self,
        localizer: Localizer,
        labels: Sequence[int] = (),
        batch_size: int = 8,
        calls: int = 1,
    ) -> None:
        """Localise the photos that are not done yet.

        Args:
            localizer: a localizer with the job's settings.
            labels: the classes that the settings name.
            batch_size: photos for one call of the model.
            calls: how many calls of the model run at once, in threads; each takes memory for a
                batch. The results are the same, except for methods that draw random numbers.

        Raises:
            ValueError: ``batch_size`` or ``calls`` is impossible.
            OSError: an output cannot be written.
        """
        checks.whole("batch_size", batch_size, 1)
        checks.whole("calls", calls, 1)
        made_with = {name: getattr(localizer, name) for name in ("method", "layer", "threshold")}
        if localizer.share:
            made_with["share"] = localizer.share
        forget = {str(source.path) for source in self.todo} | self._gone()
        self._results.start(forget, {**made_with, "label": list(labels)}, localizer.class_names)
        total = len(self.sources)
        bar = progress("Localising", total, self.skipped, "photos", self._console)
        with bar as advance, warnings.catch_warnings():
            # Pillow's remarks on odd metadata of photos that it reads all the same.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            for result in localize_stream(
                self._named(),
                localizer,
                self._results.write,
                labels=labels,
                top=self._settings.top,
                view=self._settings.files.need_view,
                pixels=self._settings.files.need_pixels,
                batch_size=batch_size,
                calls=calls,
            ):
                if isinstance(result, Failure):
                    self._fail(result)
                else:
                    self._results.append(result)
                    self.localized += 1
                advance()
        self.write_videos()

    def _gone(self) -> set[str]:
        """Return what earlier jobs took out of an archive or a video, and this one did not."""
        gone = {file: Path(file).parents for file in self._results.known if not Path(file).exists()}
        places = self._brought.origins.keys()
        return {file for file, parents in gone.items() if not places.isdisjoint(parents)}

    def _named(self) -> Iterator[Source]:
        """Yield what is to do under names whose outputs are no other photo's, nor a photo."""
        photos = [*(source.path for source in self.sources), *map(Path, self._results.known)]
        taken = {name.casefold() for name in self._results.names()}
        photos += [self._kept.parent / name for name in self._results.foreign]
        taken |= {name.casefold() for name in named_after(photos, self._kept.parent)}
        for source in self.todo:
            name = unused_name(inputs.clear_of_files(source.name, self._out), taken)
            taken.add(name.casefold())
            yield dataclasses.replace(source, name=name)

    def write_videos(self) -> None:
        """Make the missing overlay videos, for videos whose frames all have an overlay."""
        frames: dict[Path, dict[str, str | None]] = {
            place: {
                str(source.path): None for source in self.sources if place in source.path.parents
            }
            for place in self._brought.origins
            if video.is_video(place)
        }
        for record in read_results(self._out) if frames else ():
            for overlays in frames.values():
                if record["file"] in overlays:
                    overlays[record["file"]] = record["overlay"]
        for place, overlays in frames.items():
            pictures = [self._out / name for name in overlays.values() if name]
            if pictures and len(pictures) == len(overlays):
                file = self._out / f"{place.name}_overlay.mp4"
                if file.name in self._results.foreign:
                    self._tell(f"{file} was there before, and stays; no video is written")
                elif video.renew(file, pictures, self._fps):
                    self._tell(f"{len(pictures)} overlays as a video in {file}")

    def _fail(self, failure: Failure) -> None:
        self.failures.append(failure)
        file = failure.file if is_address(failure.file) else displayed(failure.file)
        self._tell(f"fcam: {file}: {failure.reason}")

    def _tell(self, line: str) -> None:
        """Print a line with names of files as it is."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True, emoji=False)
