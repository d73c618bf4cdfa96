"""OUT/results.jsonl: one line for each finished photo, which survives a kill at any moment."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from fcam_tf.atomic import write_atomically
from fcam_tf.claim import claim
from fcam_tf.predict.sources import OVERLAY_SUFFIX, RESULTS

if TYPE_CHECKING:
    from pathlib import Path

_OURS = {"file", "overlay", "heatmap", "modified"}


@dataclasses.dataclass(frozen=True)
class Settings:
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
        layer: names of the layers to weigh, with commas; empty is the method's own choice.
    """

    model: str
    model_sha256: str
    method: str
    threshold: str | float
    label: str | int | None = None
    top: int = 1
    heatmap: str = "png"
    layer: str = ""


@dataclasses.dataclass(frozen=True)
class Finished:
    """What is remembered of a finished photo.

    Attributes:
        name: what its outputs are called, without a suffix.
        modified: time of the photo's last change, in seconds.
        outputs: its files, relative to the output folder.
    """

    name: str
    modified: float
    outputs: tuple[str, ...]


class ResultsFile(contextlib.ExitStack):
    """The results in an output folder: those there, and after `start` open for more.

    The folder is locked against a second writer until `close`.

    Args:
        folder: the output folder, made if need be.
        settings: what the coming results are made with.
        overwrite: allow other settings than those of the results there, which are then forgotten.

    Attributes:
        folder: as given.
        finished: the valid results by file.

    Raises:
        SettingsChangedError: there are results of other settings, and ``overwrite`` is False.
        FolderBusyError: another process has the folder open.
        OSError: the folder cannot be made or read.
    """

    def __init__(self, folder: Path, settings: Settings, *, overwrite: bool = False) -> None:
        super().__init__()
        self.folder = folder
        self._file: Any = None
        self._claim = self.enter_context(
            claim(
                folder,
                {k: v for k, v in dataclasses.asdict(settings).items() if k != "model"},
                [RESULTS],
                notes={"model": settings.model},
                overwrite=overwrite,
                remedy="give another folder with `out`, or make them anew with `overwrite`",
            )
        )
        there = read_results(folder) if self._claim.goes_on else ()
        self.finished = {r["file"]: _finished(r) for r in there}

    def start(self, forget: Collection[str] = ()) -> None:
        """Drop torn lines and results that are to be made anew, and open the file for more.

        Args:
            forget: files whose results are dropped.

        Raises:
            OSError: the folder cannot be written to.
        """
        self._claim.begin()
        for file in forget:
            self.finished.pop(file, None)
        kept = {
            r["file"]: _line(r) for r in read_results(self.folder) if r["file"] in self.finished
        }
        path = self.folder / RESULTS
        write_atomically(path, b"".join(kept.values()))
        self._file = self.enter_context(path.open("ab", buffering=0))

    def append(self, record: dict[str, Any]) -> None:
        """Add one line, whole or not at all.

        Args:
            record: the result of a photo.

        Raises:
            OSError: the disk is full; the file is as it was.
        """
        before = self._file.tell()
        rest = memoryview(_line(record))
        try:
            while rest:  # a full disk takes a part first, and complains the next time
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(before)
            raise


def read_results(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the records in an output folder, leaving out a line that a kill tore.

    Args:
        folder: the output folder.
    """
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


def _finished(record: dict[str, Any]) -> Finished:
    outputs = tuple(record[key] for key in ("overlay", "heatmap") if record[key])
    return Finished(record["overlay"].removesuffix(OVERLAY_SUFFIX), record["modified"], outputs)


def _line(record: dict[str, Any]) -> bytes:
    try:
        return (json.dumps(record, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # a file name that is no UTF-8
        return (json.dumps(record) + "\n").encode()
