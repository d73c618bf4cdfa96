"""One evaluation: how it begins, goes on after a stop, and ends with its results in a folder."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from fcam_tf import __version__
from fcam_tf.atomic import write_json
from fcam_tf.claim import SETTINGS, Claim, SettingsChangedError, claim
from fcam_tf.data.split import Split
from fcam_tf.evaluation.parts import FOLDER
from fcam_tf.evaluation.results import (
    METRICS,
    ROWS,
    Run,
    Settings,
    parts_of,
    question,
    write_rows,
)
from fcam_tf.evaluation.scoring import score_split
from fcam_tf.evaluation.sources import MapSource
from fcam_tf.evaluation.summary import Summary
from fcam_tf.evaluation.truth import check_split
from fcam_tf.identity import split_sha256
from fcam_tf.progress import progress

if TYPE_CHECKING:
    from rich.console import Console


class Evaluation:
    """Scores a source of maps on a split, or goes on with what an earlier one began.

    The folder gets settings.json, parts/ (results as they come, about 20 kB an image),
    results.csv (one row for each image, see ``Row``) and metrics.json.

    Args:
        source: of the maps.
        settings: what the results are made with; ``truth_sha256`` is filled in here, and
            ``model_sha256`` where it is empty and ``source`` has a model.
        out: output folder, made if need be.
        asked: what `recall` will know the results by, where that is not all of ``settings``: with
            what was left to the model left empty.
        overwrite: drop the results in the folder when `run` begins, and start afresh.

    Attributes:
        out: as given.
        settings: completed.
        split: the images and their truth.

    Raises:
        SettingsChangedError: the folder holds results of other settings, or something else.
        FolderBusyError: another process is writing to it.
        FileNotFoundError: no such data set or split.
        ValueError: the split has no truth, or its classes are not the model's.
    """

    def __init__(
        self,
        source: MapSource,
        settings: Settings,
        out: str | Path,
        *,
        asked: Settings | None = None,
        overwrite: bool = False,
    ) -> None:
        self.out = Path(out)
        self._source = source
        self._splits = settings.splits()
        self.split = self._splits[settings.split]
        for split in self._splits.values():
            check_split(split)
            check_classes(source, split, settings.labels)
        truth = split_sha256(*self._splits.values())
        model = settings.model_sha256 or getattr(source, "model_sha256", "")
        self.settings = dataclasses.replace(settings, truth_sha256=truth, model_sha256=model)
        self._asked = dataclasses.replace(asked or settings, truth_sha256=truth)
        self._overwrite = overwrite
        with self._claimed():
            pass

    def run(self, batch_size: int = 32, console: Console | None = None) -> Run:
        """Scores what is not scored yet, and writes the results.

        Args:
            batch_size: images for one call of the source.
            console: where the progress bar goes; None shows none.

        Raises:
            TypeError, ValueError: something is wrong with an image, its map or its truth; the
                message names it. What came before it is kept.
            RuntimeError: the masks of the whole split hold no object.
            OSError: a file cannot be read or written.
            FolderBusyError: another process is writing to the folder.
        """
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1. Received: {batch_size}")
        with self._claimed() as claimed:
            claimed.begin(afresh=self._overwrite)
            self._overwrite = False
            self._score(batch_size, console)
        return Run(self.out)

    @contextlib.contextmanager
    def _claimed(self) -> Iterator[Claim]:
        ours = (self.out / SETTINGS).exists()
        if not ours and self.out.is_dir() and any(self.out.iterdir()):
            raise SettingsChangedError(
                f"{self.out} holds something else than an evaluation; give a new folder with `out`"
            )
        with claim(
            self.out,
            self.settings.deciding(),
            [METRICS, ROWS, FOLDER],
            notes={"model": self.settings.model, "asked": question(self._asked)},
            overwrite=self._overwrite,
            remedy="give another folder with `out`, or start afresh with `overwrite`",
        ) as claimed:
            yield claimed

    def _score(self, batch_size: int, console: Console | None) -> None:
        summaries = {}
        parts = parts_of(self._splits, self.out, self._source)
        todo = {name: len(part.todo()) for name, part in parts.items()}
        if any(todo.values()):  # these never stand beside parts that they were not made of
            for name in (METRICS, ROWS):
                (self.out / name).unlink(missing_ok=True)
        for name, split in self._splits.items():
            parts[name].remove_changed()
            done = len(split) - todo[name]
            with progress(f"Scoring {name}", len(split), done, "images", console) as advance:
                score_split(
                    self._source,
                    split,
                    parts[name],
                    explain_truth=self.settings.labels == "truth",
                    batch_size=batch_size,
                    advance=advance,
                )
            summaries[name] = Summary(parts[name], split)
        summary, transfer = summaries[self.settings.split], self.settings.threshold_split
        metrics = summary.metrics(summaries.get(transfer), transfer)
        metrics["settings"] = dataclasses.asdict(self.settings)
        metrics["versions"] = {"fcam_tf": __version__, "keras": keras.__version__}
        write_rows(self.out, summary.rows(parts[self.settings.split]))
        write_json(self.out / METRICS, metrics)


def check_classes(source: MapSource, split: Split, labels: str) -> None:
    """Sees to it that true classes are asked of a model only if it knows them.

    Raises:
        ValueError: if ``labels`` is neither "truth" nor "predicted", or is "truth" and the source's
            classes are others than the data set's.
    """
    if labels not in {"truth", "predicted"}:
        raise ValueError(f"`labels` must be 'truth' or 'predicted'. Received: {labels!r}")
    if labels == "predicted" or source.num_classes is None:
        return
    if split.has_classes(source.num_classes, source.class_names):
        return
    if source.num_classes != len(split.class_names):
        reason = f"{source.num_classes} classes, the data set {len(split.class_names)}"
    else:
        pairs = zip(source.class_names or (), split.class_names, strict=True)
        own, wanted = next((a, b) for a, b in pairs if a.casefold() != b.casefold())
        reason = f"other classes than the data set, {own!r} where that has {wanted!r}"
    raise ValueError(
        f"the model has {reason}. Its maps of the true class cannot be asked for: choose `labels` "
        "'predicted', which scores the maps of the classes it predicts"
    )
