"""One evaluation: how it begins, goes on after a stop, and ends with its results in a folder."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import rich.progress

from fcam_tf import __version__
from fcam_tf.atomic import write_atomically
from fcam_tf.data import load
from fcam_tf.data.split import Split
from fcam_tf.evaluation.parts import FOLDER, Parts
from fcam_tf.evaluation.results import METRICS, ROWS, SETTINGS, Run, Settings, write_rows
from fcam_tf.evaluation.scoring import score_split
from fcam_tf.evaluation.sources import MapSource
from fcam_tf.evaluation.summary import Summary
from fcam_tf.evaluation.truth import check_split
from fcam_tf.predict.results import SettingsChangedError

if TYPE_CHECKING:
    from rich.console import Console


class Evaluation:
    """Scores a source of maps on a split, or goes on with what an earlier one began.

    The folder gets settings.json, parts/ (results as they come, about 20 kB an image),
    results.csv (one row for each image, see ``Row``) and metrics.json.

    Args:
        source: of the maps.
        settings: what the results are made with; ``truth_sha256`` is filled in here.
        out: output folder, made if need be.
        overwrite: drop what is in the folder, and start afresh.

    Attributes:
        out: as given.
        settings: completed.
        split: the images and their truth.

    Raises:
        SettingsChangedError: the folder holds results of other settings, or something else.
        FileNotFoundError: no such data set or split.
        ValueError: the split has no truth, or its classes are not the model's.
    """

    def __init__(
        self, source: MapSource, settings: Settings, out: str | Path, *, overwrite: bool = False
    ) -> None:
        self.out = Path(out)
        self._source = source
        names = filter(None, [settings.split, settings.threshold_split])
        self._splits = {name: load(settings.data, name) for name in names}
        self.split = self._splits[settings.split]
        for split in self._splits.values():
            check_split(split)
            check_classes(source, split, settings.labels)
        fingerprint = _fingerprint(self._splits.values())
        self.settings = dataclasses.replace(settings, truth_sha256=fingerprint)
        _begin(self.out, self.settings, overwrite=overwrite)

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
        """
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1. Received: {batch_size}")
        summaries = {}
        for name, split in self._splits.items():
            stamps = self._source.stamps(split.ids) if self.settings.maps else None
            parts = Parts(self.out, name, len(split), stamps)
            todo = len(parts.todo())
            with _progress(f"Scoring {name}", len(split), todo, console) as advance:
                score_split(
                    self._source,
                    split,
                    parts,
                    explain_truth=self.settings.labels == "truth",
                    batch_size=batch_size,
                    advance=advance,
                )
            summaries[name] = Summary(parts, split)
        summary, transfer = summaries[self.settings.split], self.settings.threshold_split
        metrics = summary.metrics(summaries.get(transfer), transfer)
        metrics["settings"] = dataclasses.asdict(self.settings)
        metrics["versions"] = {"fcam_tf": __version__, "keras": keras.__version__}
        rows = summary.rows(Parts(self.out, self.split.name, len(self.split)))
        write_rows(self.out, rows)
        text = json.dumps(metrics, indent=1, allow_nan=False) + "\n"
        write_atomically(self.out / METRICS, text.encode())
        return Run(self.out)


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


def _begin(out: Path, settings: Settings, *, overwrite: bool) -> None:
    """Makes the folder ready, or refuses what is in it."""
    wanted = dataclasses.asdict(settings)
    ours = (out / SETTINGS).is_file()
    if ours and overwrite:
        for name in (METRICS, ROWS):
            (out / name).unlink(missing_ok=True)
        shutil.rmtree(out / FOLDER, ignore_errors=True)
    elif ours:
        try:
            old = json.loads((out / SETTINGS).read_text("utf-8"))
        except ValueError:
            old = {}
        changes = [
            f"{name} was {old.get(name)!r} and is now {value!r}"
            for name, value in wanted.items()
            if old.get(name) != value
        ]
        if changes:
            raise SettingsChangedError(
                f"{out} holds results of other settings: {', '.join(changes)}; give another folder "
                "with `out`, or start afresh with `overwrite`"
            )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsChangedError(
            f"{out} holds something else than an evaluation; give a new folder with `out`"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / SETTINGS, (json.dumps(wanted, indent=1) + "\n").encode())


def _fingerprint(splits: Iterable[Split]) -> str:
    """A hash of what scores depend on beside the images."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update("\n".join([split.name, *split.ids, *split.class_names]).encode())
        digest.update(split.labels.tobytes())
        digest.update(b"" if split.sizes is None else split.sizes.tobytes())
        for boxes in split.boxes or ():
            digest.update(boxes.tobytes() + b";")
        for index, masks in enumerate(split.masks or ()):
            names = [path.name for path in (*masks, split.ignores[index]) if path]
            digest.update("\n".join(names).encode() + b";")
    return digest.hexdigest()


@contextlib.contextmanager
def _progress(
    title: str, total: int, todo: int, console: Console | None
) -> Iterator[Callable[[], None]]:
    if console is None or not console.is_terminal or not todo:
        yield lambda: None
        return
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("[progress.remaining]images, left:"),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total, completed=total - todo)
        yield lambda: bar.advance(task)
