"""The contents of an output folder: pictures of each photo, and its line in results.jsonl.

Each file and line is complete or absent, however the process ends.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcam_tf import checks
from fcam_tf.atomic import naming, write_atomically
from fcam_tf.claim import SETTINGS, SettingsChangedError, claim, read_settings
from fcam_tf.localization import scale_box
from fcam_tf.names import MIN_AREA
from fcam_tf.predict.cutting import write_object
from fcam_tf.predict.files import FILE_KEYS, Files, PhotoFiles, is_output
from fcam_tf.predict.pictures import write_pictures
from fcam_tf.predict.records import parse_record

if TYPE_CHECKING:
    import keras
    import numpy as np

    from fcam_tf.localization import Localization, Region
    from fcam_tf.photos import Photo
    from fcam_tf.predict.localizer import Localizer

AUTO = "auto"
RESULTS = "results.jsonl"


@dataclasses.dataclass(frozen=True)
class LocalizeSettings:
    """The settings that determine a photo's results; kept in OUT/settings.json.

    Attributes:
        model: name of the classifier, file of the model or folder of the run, for human readers;
            models with the same content count as the same.
        model_sha256: SHA-256 of its file, from its card, or from `identity.model_sha256`.
        method: name of the method, or "auto".
        threshold: "otsu", a number in [0, 1], or "auto".
        label: the classes to localise, as the user gave them; if empty, ``top`` decides.
        top: how many of the most probable classes to localise; None localises those that each photo
            shows.
        objects: the maximum number of regions of each class's map that are objects, the largest
            first; None is all.
        min_area: the minimum area of an object, as a fraction of the photo's; the largest object is
            always kept.
        files: what is written in addition to results.jsonl.
        layer: names of the layers whose maps are weighted, separated by commas; if empty, the
            method decides.
        options: further options of the method by name, as JSON values, such as ``scales``; see
            `fcam_tf.explain.Explainer`.

    Raises:
        ValueError: ``top`` or ``objects`` is below 1, ``min_area`` is not a fraction, or both
            ``label`` and ``top`` are given.
    """

    model: str
    model_sha256: str
    method: str
    threshold: str | float
    label: Sequence[str | int] = ()
    top: int | None = None
    objects: int | None = 1
    min_area: float = MIN_AREA
    files: Files = dataclasses.field(default_factory=Files)
    layer: str = ""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("top", "objects"):
            if getattr(self, name) is not None:
                checks.whole(name, getattr(self, name), 1)
        checks.number("min_area", self.min_area, "[0, 1]")
        if self.label and self.top:
            raise ValueError(
                f"`label` and `top` exclude each other. Received: {list(self.label)} and "
                f"{self.top}. Leave one of them out."
            )
        object.__setattr__(self, "label", list(self.label))

    def localizer(self, model: keras.Model) -> tuple[Localizer, list[int]]:
        """Return the localizer of these settings, and the numbers of the requested classes.

        Raises:
            ValueError: ``method``, ``layer``, one of ``options``, ``threshold`` or ``label`` does
                not fit the model.
        """
        from fcam_tf.predict.localizer import Localizer  # noqa: PLC0415 - TensorFlow

        localizer = Localizer(
            model,
            None if self.method == AUTO else self.method,
            None if self.threshold == AUTO else self.threshold,
            self.layer.split(",") if self.layer else None,
            **self.options,
        )
        return localizer, find_labels(self.label, localizer)


def find_labels(wanted: Sequence[str | int], localizer: Localizer) -> list[int]:
    """Return the numbers of the classes that a user named, without duplicates; see `find_label`."""
    from fcam_tf.predict.localizer import find_label  # noqa: PLC0415 - TensorFlow

    names, classes = localizer.class_names, localizer.num_classes
    return list(dict.fromkeys(find_label(each, names, classes) for each in wanted))


class ResultsFile(contextlib.ExitStack):
    """The results in an output folder: existing ones and, after `start`, new ones.

    The folder is created if needed, and locked against a second writer until `close`. With
    ``overwrite``, results of other settings are discarded.

    Attributes:
        finished: the valid results, as in results.jsonl, by file.
        known: the photo files of all results that existed.
        foreign: names of files that were in the folder before its first job and have names like
            outputs; they are not overwritten.

    Raises:
        SettingsChangedError: there are results of other settings, and ``overwrite`` is False.
        FolderBusyError: another process has the folder open.
        OSError: the folder cannot be created or read.
    """

    def __init__(
        self, folder: Path, settings: LocalizeSettings, *, overwrite: bool = False
    ) -> None:
        super().__init__()
        self.folder = folder
        self._file: Any = None
        self._settings, self._overwrite = settings, overwrite
        self._remedy = "give another folder with `out`, or make them again with `overwrite`"
        deciding = dataclasses.asdict(settings)
        notes = {"model": deciding.pop("model")}
        claimed = claim(
            folder, deciding, [RESULTS], notes=notes, overwrite=overwrite, remedy=self._remedy
        )
        self._claim = self.enter_context(claimed)
        there = read_results(folder) if self._claim.goes_on else ()
        self.finished = {record["file"]: record for record in there}
        self.known = frozenset(self.finished)
        _, notes = read_settings(folder / SETTINGS)
        new = not (folder / SETTINGS).exists()
        self.foreign: list[str] = _like_outputs(folder) if new else notes.get("foreign", [])

    def holds(self, photo: Path) -> bool:
        """Tell whether there is a result for the current state of a photo, with all its files."""
        record = self.finished.get(str(photo))
        return (
            record is not None
            and is_current(record)
            and all((self.folder / name).exists() for name in _files_of(record))
        )

    def names(self) -> set[str]:
        """Return the names of the outputs of finished photos, without suffixes."""
        return {record["name"] for record in self.finished.values()}

    def start(
        self,
        forget: Collection[str] = (),
        made_with: Mapping[str, Any] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        """Drop torn lines and the results of ``forget``, and open the file for more.

        What the settings resolve to with the model, ``made_with``, is stored beside them.

        Raises:
            SettingsChangedError: existing results were made with something else (another version
                may choose differently), and ``overwrite`` is False.
            OSError: the folder cannot be written to.
        """
        self._class_names = class_names
        for file in forget:
            self.finished.pop(file, None)
        _, notes = read_settings(self.folder / SETTINGS)
        before = notes.get("made_with")
        if self.finished and before not in (None, made_with):
            if not self._overwrite:
                raise SettingsChangedError(
                    f"{self.folder} holds results made with {before}; new ones would be made with "
                    f"{made_with}; {self._remedy}"
                )
            self.finished.clear()
        foreign: dict[str, Any] = {"foreign": self.foreign} if self.foreign else {}
        self._claim.begin(made_with=made_with, **foreign)
        path = self.folder / RESULTS
        write_atomically(path, b"".join(map(_line, self.finished.values())))
        self._file = self.enter_context(path.open("ab", buffering=0))

    def write(
        self, name: str, photo: Photo, result: Localization, pixels: np.ndarray | None = None
    ) -> dict[str, Any]:
        """Write the files of one photo, from any thread; return its record without `file_state`.

        Args:
            name: path below the folder, without a suffix.
            photo: the photo.
            result: what it shows and where, with an entry for each class.
            pixels: the photo (h, w, 3) uint8 to cut objects from, if cut-outs are requested.

        Raises:
            OSError: a file cannot be written; no partial file is left.
        """
        settings = self._settings
        files = PhotoFiles(self.folder, name, settings.files)
        size = (photo.width, photo.height)
        objects: list[dict[str, Any]] = []
        for number in range(len(result)):
            found = result[number]
            known = class_of(found, self._class_names)
            regions = found.regions(settings.objects, settings.min_area)
            pictures = write_pictures(
                files, photo, found, regions, caption_of(known), number=number + 1
            )
            places: list[Region | None] = [*regions] or [None]
            for region in places:
                where = where_of(found, region, size)
                taken = write_object(files, found, region, size, pixels, number=len(objects) + 1)
                objects.append({**known, **where, **pictures, **taken})
        files.remove_later()
        record = {"name": name, **objects[0], "width": photo.width, "height": photo.height}
        record["objects"] = objects
        return record | ({"options": settings.options} if settings.options else {})

    def append(self, record: dict[str, Any]) -> None:
        """Add one line; if the disk is full, raise OSError and leave the file unchanged."""
        before = self._file.tell()
        rest = memoryview(_line(record))
        try:
            with naming(self.folder / RESULTS):
                while rest:  # a full disk takes a part first, and complains the next time
                    rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(before)
            raise


def _like_outputs(folder: Path) -> list[str]:
    return sorted(
        str(Path(parent, name).relative_to(folder))
        for parent, _, names in os.walk(folder)
        for name in names
        if is_output(name)
    )


def read_results(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the records in an output folder, skipping lines that are incomplete or damaged.

    Examples:
        >>> localizer = fcam_tf.predict.Localizer(model)
        >>> job = fcam_tf.predict.localize_files(localizer, "pets/cat/0.png", "one")
        >>> [len(record["objects"]) for record in fcam_tf.predict.read_results(Path("one"))]
        [1]
    """
    try:
        file = (folder / RESULTS).open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            record = parse_record(line)
            if record is not None:
                yield record


def file_state(photo: Path) -> dict[str, float]:
    """Size and time of a photo's file, as stored in results.jsonl; empty if it does not exist."""
    try:
        now = photo.stat()
    except OSError:
        return {}
    return {"bytes": now.st_size, "modified": now.st_mtime}


def is_current(record: Mapping[str, Any]) -> bool:
    """Tell whether the photo of a record exists, unchanged since it was localised."""
    now = file_state(Path(record["file"]))
    return bool(now) and now.items() <= record.items()


def _files_of(record: Mapping[str, Any]) -> set[str]:
    """Return the names of the files that belong to a record."""
    return {each[kind] for each in record["objects"] for kind in FILE_KEYS if each.get(kind)}


def class_of(found: Localization, class_names: Sequence[str] | None) -> dict[str, Any]:
    """Return which class was localised, and its probability, as stored in results.jsonl."""
    label = int(found.labels)
    name = None if class_names is None else class_names[label]
    return {"label": label, "label_name": name, "score": round(float(found.scores), 6)}


def where_of(found: Localization, region: Region | None, size: tuple[int, int]) -> dict[str, Any]:
    """Return where an object is in the photo's pixels, and by which threshold; None is nowhere.

    Args:
        found: the object's class, without a batch axis.
        region: the object.
        size: width and height of the photo.
    """
    frame = found.heatmaps.shape[::-1]
    return {
        "box": list(scale_box(region.box, frame, size)) if region else None,
        "area": round(region.area, 6) if region else 0.0,
        "heat": round(region.heat, 6) if region else 0.0,
        "threshold": round(float(found.thresholds), 6),
    }


def caption_of(known: Mapping[str, Any]) -> str:
    """Return the caption of a class in a picture, from the first of its names."""
    name = known["label_name"]
    return name.split(", ")[0] if name else f"class {known['label']}"


def _line(record: dict[str, Any]) -> bytes:
    try:
        return (json.dumps(record, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # a file name that is not UTF-8
        return (json.dumps(record) + "\n").encode()
