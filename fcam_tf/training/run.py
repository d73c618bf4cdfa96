"""A run's folder: what is kept of a training, and how it goes on after a stop."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import keras

import fcam_tf
from fcam_tf.atomic import replacing, write_atomically
from fcam_tf.models.saved import BEST

_STATE = "state.json"


class RunChangedError(ValueError):
    """The folder holds a run of other settings."""


@dataclasses.dataclass
class State:
    """What the run has reached.

    Attributes:
        epoch: finished epochs.
        history: one row of logs for each, the first for epoch 0, before any training.
        best: index into ``history`` of the epoch chosen, or None.
        weights: file of the state of model and optimizer.
    """

    epoch: int = 0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best: int | None = None
    weights: str = ""


class RunFolder:
    """The folder of one training run.

    ``run.json`` (settings and environment), ``metrics.csv`` (a row for each epoch),
    ``best.keras``, and while the run is not finished ``state.json`` with the weights of the last
    epoch. ``state.json`` is replaced in one step, last: a run killed at any moment goes on from
    the last finished epoch, and what it left half done is put right when it is opened again.

    Args:
        folder: the folder; made if it is not there.
        settings: everything that the run depends on, as JSON values.
        epochs: how many there will be.

    Attributes:
        state: what has been reached.

    Raises:
        RunChangedError: the folder holds a run with other settings.
    """

    def __init__(self, folder: str | Path, settings: dict[str, Any], epochs: int) -> None:
        self.folder = Path(folder)
        self.epochs = epochs
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = json.loads(json.dumps(settings))
        about, path = self.folder / "run.json", self.folder / _STATE
        if about.exists() and path.exists():  # else nothing has been reached that could be lost
            before = json.loads(about.read_text("utf-8"))["settings"]
            changed = differing_keys(before, settings)
            if changed:
                raise RunChangedError(
                    f"{self.folder} holds a run with other settings: {', '.join(changed)}. Give "
                    "another folder, or remove this one to start afresh."
                )
        else:
            text = json.dumps({"settings": settings, "environment": environment()}, indent=2)
            write_atomically(about, text.encode())
        self.state = State(**json.loads(path.read_text("utf-8"))) if path.exists() else State()
        for stray in self.folder.glob("epoch*.weights.h5"):
            if stray.name != self.state.weights:
                stray.unlink()
        if self.state.history:
            self._write_table()

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return bool(self.state.history) and self.state.epoch >= self.epochs

    @property
    def best(self) -> Path:
        """The model of the best epoch."""
        return self.folder / BEST

    def restore(self, model: keras.Model) -> None:
        """Bring model and optimizer to the end of the last finished epoch, if there is one."""
        # Built first: Keras keeps no state of an optimizer that has not seen its variables.
        model.optimizer.build(model.trainable_variables)
        if self.state.weights:
            model.load_weights(self.folder / self.state.weights)

    def save_epoch(
        self, model: keras.Model, epoch: int, logs: dict[str, float], best: bool
    ) -> None:
        """Record a finished epoch.

        Args:
            model: as it is at its end.
            epoch: its number; 0 is before any training.
            logs: its row of the history.
            best: whether it is the best so far; then the model is kept.
        """
        if best:
            with replacing(self.best) as part:
                model.save(part)
        weights = f"epoch{epoch}.weights.h5"
        with replacing(self.folder / weights) as part:
            model.save_weights(part)
        previous = self.state.weights
        self.state = State(
            epoch,
            [*self.state.history, {"epoch": epoch, **logs}],
            len(self.state.history) if best else self.state.best,
            weights,
        )
        text = json.dumps(dataclasses.asdict(self.state), indent=2)
        write_atomically(self.folder / _STATE, text.encode())
        if previous and previous != weights:
            (self.folder / previous).unlink(missing_ok=True)
        self._write_table()

    def _write_table(self) -> None:
        columns = dict.fromkeys(key for row in self.state.history for key in row)
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="")
        writer.writeheader()
        writer.writerows(self.state.history)
        write_atomically(self.folder / "metrics.csv", text.getvalue().encode())


def differing_keys(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return the keys, sorted, that two sets of settings do not share or agree on."""
    return sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))


def environment() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    names = ("tensorflow", "keras", "keras-cv", "numpy", "scikit-image")
    return {
        "fcam_tf": fcam_tf.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "backend": keras.backend.backend(),
        **{name: metadata.version(name) for name in names},
    }
