"""What an output folder holds: pictures of each photo, and its line in results.jsonl.

Each file and line is there as a whole or not at all, whatever ends the process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcam_tf import checks
from fcam_tf.atomic import naming, write_atomically
from fcam_tf.claim import SETTINGS, SettingsChangedError, claim, read_settings
from fcam_tf.localization import NO_BOX, scale_box
from fcam_tf.predict.pictures import HEATMAP_SUFFIXES, OVERLAY_SUFFIX, write_pictures

if TYPE_CHECKING:
    import keras

    from fcam_tf.localization import Localization
    from fcam_tf.photos import Photo
    from fcam_tf.predict.localizer import Localizer

AUTO = "auto"
RESULTS = "results.jsonl"
_OURS = {"file", "overlay", "heatmap", "modified"}


@dataclasses.dataclass(frozen=True)
class LocalizeSettings:
    """What decides the results of a photo; kept in OUT/settings.json.

    Attributes:
        model: name of the classifier, file of the model or folder of the run, for people; another
            of the same content is the same.
        model_sha256: of its file, in its card, or as of `identity.model_sha256`.
        method: how maps are made, or "auto".
        threshold: "otsu", a number in [0, 1], or "auto".
        label: the class to localise as the user gave it; None is the predicted one.
        top: how many of the most probable classes are listed.
        heatmap: "png", "npy" or "none".
        layer: names of the layers whose maps are weighted, with commas; empty leaves them to the
            method.
        options: more of the method by name, as JSON values, such as ``scales``; see
            `fcam_tf.explain.Explainer`.

    Raises:
        ValueError: no such ``heatmap``, or ``top`` is below 1.
    """

    model: str
    model_sha256: str
    method: str
    threshold: str | float
    label: str | int | None = None
    top: int = 1
    heatmap: str = "png"
    layer: str = ""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        checks.choice("heatmap", self.heatmap, list(HEATMAP_SUFFIXES))
        checks.whole("top", self.top, 1)

    def localizer(self, model: keras.Model) -> tuple[Localizer, int | None]:
        """Return the localizer that is meant, and the number of the class to localise, if any.

        Raises:
            ValueError: ``method``, ``layer``, one of ``options``, ``threshold`` or ``label`` does
                not fit the model.
        """
        from fcam_tf.predict.localizer import Localizer, find_label  # noqa: PLC0415 - TensorFlow

        localizer = Localizer(
            model,
            None if self.method == AUTO else self.method,
            None if self.threshold == AUTO else self.threshold,
            self.layer.split(",") if self.layer else None,
            **self.options,
        )
        if self.label is None:
            return localizer, None
        return localizer, find_label(self.label, localizer.class_names, localizer.num_classes)


class ResultsFile(contextlib.ExitStack):
    """The results in an output folder: those there, and after `start` open for more.

    The folder is made if need be, and locked against a second writer until `close`. With
    ``overwrite`` results of other settings are forgotten.

    Attributes:
        finished: the valid results, as in results.jsonl, by file.

    Raises:
        SettingsChangedError: there are results of other settings, and ``overwrite`` is False.
        FolderBusyError: another process has the folder open.
        OSError: the folder cannot be made or read.
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

    def holds(self, photo: Path) -> bool:
        """Tell whether there is a result of a photo as it is now, with all its files."""
        record, now = self.finished.get(str(photo), {}), file_state(photo)
        return (
            bool(now)
            and now.items() <= record.items()
            and all((self.folder / name).exists() for name in _files_of(record))
        )

    def names(self) -> set[str]:
        """Return what the outputs of the finished photos are called, without suffixes."""
        return {record["overlay"].removesuffix(OVERLAY_SUFFIX) for record in self.finished.values()}

    def start(
        self,
        forget: Collection[str] = (),
        made_with: Mapping[str, Any] | None = None,
        class_names: Sequence[str] | None = None,
        *,
        several: bool = False,
    ) -> None:
        """Drop torn lines and the results of ``forget``, and open the file for more.

        What the settings come to with the model, ``made_with``, is noted beside them. Records list
        classes if a photo may show ``several``.

        Raises:
            SettingsChangedError: results that are kept were made with something else, since another
                version may choose otherwise, and ``overwrite`` is False.
            OSError: the folder cannot be written to.
        """
        self._class_names, self._several = class_names, several
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
        self._claim.begin(made_with=made_with)
        path = self.folder / RESULTS
        write_atomically(path, b"".join(map(_line, self.finished.values())))
        self._file = self.enter_context(path.open("ab", buffering=0))

    def write(self, name: str, photo: Photo, result: Localization) -> dict[str, Any]:
        """Write the files of one photo, from any thread; return its record, less `file_state`.

        Args:
            name: path below the folder, without a suffix.
            photo: the photo.
            result: what it shows and where, an entry for each class.

        Raises:
            OSError: a file cannot be written; none is left in part.
        """
        found = [result[i] for i in range(len(result))]
        known = [self._class(int(each.labels), float(each.scores)) for each in found]
        captions = [_caption(each) for each in known]
        heatmap = self._settings.heatmap
        files = write_pictures(self.folder, name, photo, found, captions, heatmap=heatmap)
        entries = [
            {**names, **_where(each, photo), **paths}
            for names, each, paths in zip(known, found, files, strict=True)
        ]
        record = {**entries[0], "width": photo.width, "height": photo.height}
        if self._settings.top > 1:
            probabilities = result.probabilities[0]
            best = np.argsort(-probabilities, kind="stable")[: self._settings.top]
            record["top"] = [self._class(int(k), float(probabilities[k])) for k in best]
        if self._several:
            record["labels"] = entries
        return record | ({"options": self._settings.options} if self._settings.options else {})

    def _class(self, label: int, score: float) -> dict[str, Any]:
        name = None if self._class_names is None else self._class_names[label]
        return {"label": label, "label_name": name, "score": round(score, 6)}

    def append(self, record: dict[str, Any]) -> None:
        """Add one line; where the disk is full, raise OSError and leave the file as it was."""
        before = self._file.tell()
        rest = memoryview(_line(record))
        try:
            with naming(self.folder / RESULTS):
                while rest:  # a full disk takes a part first, and complains the next time
                    rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(before)
            raise


def read_results(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the records in an output folder, leaving out a line that a kill tore."""
    try:
        file = (folder / RESULTS).open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and record.keys() >= _OURS:
                yield record


def file_state(photo: Path) -> dict[str, float]:
    """Size and time of a photo's file, as results.jsonl has them; empty if it does not exist."""
    try:
        now = photo.stat()
    except OSError:
        return {}
    return {"bytes": now.st_size, "modified": now.st_mtime}


def _files_of(record: Mapping[str, Any]) -> set[str]:
    """Return the names of the files that belong to a record."""
    entries = [record, *record.get("labels", ())]
    return {e[kind] for e in entries for kind in ("overlay", "heatmap") if e.get(kind)}


def _where(found: Localization, photo: Photo) -> dict[str, Any]:
    """Return box and threshold of one class, in the photo's own pixels."""
    box, size = tuple(found.boxes), (photo.width, photo.height)
    scaled = list(scale_box(box, found.heatmaps.shape[::-1], size)) if box != NO_BOX else None
    return {"box": scaled, "threshold": round(float(found.thresholds), 6)}


def _caption(known: Mapping[str, Any]) -> str:
    """Return what a class is called in a picture, by the first of its names."""
    name = known["label_name"]
    return name.split(", ")[0] if name else f"class {known['label']}"


def _line(record: dict[str, Any]) -> bytes:
    try:
        return (json.dumps(record, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # a file name that is not UTF-8
        return (json.dumps(record) + "\n").encode()
