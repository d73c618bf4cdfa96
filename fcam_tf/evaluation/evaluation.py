"""One evaluation: how it begins, goes on after a stop, and ends with its results in a folder."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcam_tf import __version__, checks
from fcam_tf.atomic import unfinished, write_csv, write_json
from fcam_tf.claim import SETTINGS, Claim, FolderBusyError, SettingsChangedError, claim
from fcam_tf.data.split import Split
from fcam_tf.evaluation.measured import ExplanationSettings
from fcam_tf.evaluation.parts import FOLDER, Parts
from fcam_tf.evaluation.sources import MapSource, ModelMaps, check_scaling
from fcam_tf.evaluation.stored import METRICS, ROWS, EvaluationSettings, StoredEvaluation
from fcam_tf.identity import contents, split_sha256, stamps
from fcam_tf.names import listed
from fcam_tf.streams import progress

if TYPE_CHECKING:
    import keras
    from rich.console import Console


class Evaluation:
    """Scores maps on a split, goes on with what an earlier one began, or finds it finished.

    The folder gets settings.json, parts/ (results as they come, about 20 kB an image),
    results.csv (one row for each image, see ``Row``) and metrics.json.

    settings.json holds what the results are made with and, where some of it was left to the model,
    what was asked for: if the same is asked again and nothing has changed, no model is loaded.

    Args:
        source: of the maps; or what loads the model, which is called only if needed.
        settings: what is asked for. Of a model that is loaded, ``method`` and ``layer`` may be
            empty for what fits it; ``labels`` may be empty for the true classes if the model knows
            them. ``truth_sha256`` is filled in here, and what ``source`` knows of its model.
        out: output folder, made if need be.
        tell: is told which maps a loaded model makes.
        overwrite: drop the results in the folder when `run` begins, and start afresh.

    Attributes:
        out: as given.
        settings: completed.
        split: the images and their ground truth.
        finished: the evaluation if it is done already, or None.

    Raises:
        SettingsChangedError: the folder holds results of other settings, or something else.
        FolderBusyError: another process is writing to it.
        FileNotFoundError: no such data set or split.
        ValueError: the split has no ground truth, its classes are not the model's, the method does
            not fit the model, or the scaling not the maps.
    """

    def __init__(
        self,
        source: MapSource | Callable[[], keras.Model],
        settings: EvaluationSettings,
        out: str | Path,
        *,
        tell: Callable[[str], object] = lambda _: None,
        overwrite: bool = False,
    ) -> None:
        self.out = Path(out)
        self._splits = settings.splits()
        self.split = self._splits[settings.split]
        self._overwrite = overwrite
        truth = split_sha256(*self._splits.values())
        asked = dataclasses.replace(settings, truth_sha256=truth)
        if isinstance(source, MapSource):
            asked = _completed(asked, source)
        # Another version may answer otherwise.
        self._asked = {**asked.deciding(), "version": __version__}
        known = isinstance(source, MapSource) or asked.model_sha256  # else it may be any model
        self.finished = self._recalled(source) if known and not overwrite else None
        if self.finished:
            self.settings = self.finished.settings
            return
        for split in self._splits.values():
            check_split(split)
        if (
            asked.explanation
            and isinstance(source, MapSource)
            and not isinstance(source, ModelMaps)
        ):
            raise ValueError("`explanation` needs a model whose maps are explained, not other maps")
        if not isinstance(source, MapSource):
            layer = asked.layer.split(",") if asked.layer else None
            source = ModelMaps(source(), asked.method or None, layer, **asked.options)
            tell(f"maps of {source.told}")
            asked = _completed(asked, source)
        if not asked.labels:
            same = self.split.has_classes(source.num_classes, source.class_names)
            asked = dataclasses.replace(asked, labels="truth" if same else "predicted")
        check_scaling(source, asked.scaling)
        for split in self._splits.values():
            check_classes(source, split, asked.labels)
        self._source, self.settings = source, asked
        with self._claimed():
            pass

    def run(self, batch_size: int = 32, console: Console | None = None) -> StoredEvaluation:
        """Scores what is not scored yet, and writes the results.

        Args:
            batch_size: images for one call of the source.
            console: where the progress bar goes; None shows none.

        Raises:
            TypeError, ValueError: an image, its map or its ground truth is malformed; the message
                names it. What came before it is kept.
            RuntimeError: the masks of the whole split hold no object.
            OSError: a file cannot be read or written.
            FolderBusyError: another process is writing to the folder.
        """
        checks.whole("batch_size", batch_size, 1)
        if not self.finished:
            with self._claimed() as claimed:
                claimed.begin(afresh=self._overwrite)
                self._overwrite = False
                self._score(batch_size, console)
            self.finished = StoredEvaluation(self.out)
        return self.finished

    def _recalled(self, source: Any) -> StoredEvaluation | None:
        """The finished evaluation, if the same was asked for and nothing has changed since."""
        try:
            run = StoredEvaluation(self.out)
        except (FileNotFoundError, ValueError):
            return None
        if len(run.rows) != len(self.split):  # the table was cut
            return None
        parts = self._parts(source).values()
        if _elsewhere(run.notes.get("asked")) != _elsewhere(self._asked) or any(
            part.todo() for part in parts
        ):
            return None
        moved = run.settings.data != self._asked["data"]
        run.settings = self.settings = dataclasses.replace(run.settings, data=self._asked["data"])
        if moved or any(part.stale for part in parts):
            # So that the next look finds the data, and need not read it.
            with contextlib.suppress(OSError, FolderBusyError), self._claimed() as claimed:
                claimed.begin()
                for part in parts:
                    part.renew()
        return run

    def _parts(self, source: Any) -> dict[str, Parts]:
        """The results of each split, as far as their files have not changed since."""
        files = getattr(source, "files", lambda _: None)
        found = {}
        for name, split in self._splits.items():
            more = files(split.ids)
            marks = stamps(split, more)
            content = contents(split, marks, more)
            found[name] = Parts(self.out, name, len(split), marks, content)
        return found

    def _claimed(self) -> AbstractContextManager[Claim]:
        found = {path.name for path in self.out.iterdir()} if self.out.is_dir() else set()
        # Or another has just begun it, or who was killed then.
        if SETTINGS not in found and found - {unfinished(self.out / SETTINGS).name}:
            raise SettingsChangedError(
                f"{self.out} holds something other than an evaluation; give a new folder with `out`"
            )
        return claim(
            self.out,
            self.settings.deciding(),
            [METRICS, ROWS, FOLDER],
            notes={"model": self.settings.model, "asked": self._asked},
            overwrite=self._overwrite,
            free=("data",),
            remedy="give another folder with `out`, or start afresh with `overwrite`",
        )

    def _score(self, batch_size: int, console: Console | None) -> None:
        from fcam_tf.evaluation.scoring import score_split  # noqa: PLC0415 - TensorFlow
        from fcam_tf.evaluation.summary import Summary  # noqa: PLC0415 - Keras

        given = self.settings.explanation
        numbers = ExplanationSettings(**given) if given else None
        summaries = {}
        parts = self._parts(self._source)
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
                    scaling=self.settings.scaling,
                    batch_size=batch_size,
                    explanation=numbers if name == self.settings.split else None,
                    advance=advance,
                )
            summaries[name] = Summary(parts[name], split)
        summary, transfer = summaries[self.settings.split], self.settings.threshold_split
        metrics = summary.metrics(summaries.get(transfer), transfer)
        if numbers and numbers.photos:
            metrics["details"]["randomisation"] = self._randomised(numbers)
        metrics["settings"] = dataclasses.asdict(self.settings)
        metrics["versions"] = {"fcam_tf": __version__, "keras": metadata.version("keras")}
        rows = summary.rows(parts[self.settings.split])
        write_csv(self.out / ROWS, map(dataclasses.asdict, rows))
        write_json(self.out / METRICS, metrics)

    def _randomised(self, numbers: ExplanationSettings) -> dict[str, Any]:
        from fcam_tf.evaluation.explanation import randomised  # noqa: PLC0415 - TensorFlow

        parts = Parts(self.out, self.settings.split, len(self.split))
        labels = self.split.labels[: numbers.photos]
        if self.settings.labels != "truth":
            first = parts.read(range(min(numbers.photos, len(self.split))))
            labels = np.array([each.predicted for _, each in sorted(first.items())])
        return randomised(self._source, numbers, self.split, labels)


def _elsewhere(asked: Any) -> Any:
    """Return what was asked for, wherever the data is."""
    return asked and {**asked, "data": ""}


def _completed(settings: EvaluationSettings, source: MapSource) -> EvaluationSettings:
    """What a model's maps are made with, in the settings."""
    if not isinstance(source, ModelMaps):
        return settings
    return dataclasses.replace(
        settings,
        method=source.method,
        layer=source.layer,
        options=source.options,
        model_sha256=settings.model_sha256 or source.model_sha256,
    )


def check_split(split: Split) -> None:
    """Raises ValueError if the split has neither boxes nor masks, or an image of it lacks them."""
    if split.boxes is None and split.masks is None:
        raise ValueError(
            f"split {split.name!r} has neither boxes nor masks to score against: class "
            "folders have none; in the benchmark's layout they are named in localization.txt"
        )
    given: dict[str, Sequence[Any] | None] = {"box": split.boxes, "mask": split.masks}
    for kind, truths in given.items():
        pairs = [] if truths is None else zip(split.ids, truths, strict=True)
        if without := [name for name, truth in pairs if not len(truth)]:
            raise ValueError(
                f"{len(without)} of {len(split)} images of split {split.name!r} have no {kind}: "
                f"{listed(without)}. Take them out of image_ids.txt, or add their lines"
            )


def check_classes(source: MapSource, split: Split, labels: str) -> None:
    """Raises ValueError if maps of true classes are asked of a model with other classes."""
    checks.choice("labels", labels, ["truth", "predicted"])
    if labels == "predicted" or source.num_classes is None:
        return
    if split.has_classes(source.num_classes, source.class_names):
        return
    if source.num_classes != len(split.class_names):
        reason = f"{source.num_classes} classes, the data set {len(split.class_names)}"
    else:
        pairs = zip(source.class_names or (), split.class_names, strict=True)
        theirs, wanted = next((a, b) for a, b in pairs if a.casefold() != b.casefold())
        reason = f"other classes than the data set: {theirs!r} instead of {wanted!r}"
    raise ValueError(
        f"the model has {reason}. It has no maps of the true classes; choose `labels` 'predicted' "
        "to score the maps of the classes it predicts"
    )
