"""A run's folder: what is kept of a training, and how it resumes after a stop."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import platform
import re
import warnings
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import fcam_tf
from fcam_tf.atomic import replacing, write_atomically, write_csv, write_json
from fcam_tf.claim import REMEDY, SettingsChangedError, claim, differences, read_settings
from fcam_tf.identity import BEST

if TYPE_CHECKING:
    import keras

    from fcam_tf.training.ema import MovingAverage

ABOUT, PLOT, _STATE, _TABLE = "run.json", "convergence.png", "state.json", "metrics.csv"
VALIDATION_PREFIX = "val_"  # of scores in a row of the history
TIMES = "times"  # what `times_sha256` gives, in what was asked for and in run.json


@dataclasses.dataclass
class State:
    """What the run has reached."""

    epoch: int = 0  # finished epochs
    # One row of logs for each, the first for epoch 0, before any training.
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best: int | None = None  # index into ``history`` of the epoch chosen
    weights: str = ""  # file of the state of model and optimizer


class RunFolder:
    """The folder of one training run, see `open_run`.

    ``run.json`` (settings and environment), ``metrics.csv`` (a row for each epoch),
    ``best.keras``, and ``state.json`` with the weights of the last epoch. ``state.json`` is
    replaced in one step, last: a run killed at any moment goes on from the last finished epoch.

    Args:
        folder: the folder.
        epochs: how many there will be.

    Attributes:
        settings: what the run depends on.
        state: what has been reached.

    Raises:
        SettingsChangedError: ``state.json`` cannot be read.
    """

    def __init__(self, folder: str | Path, epochs: int) -> None:
        self.folder = Path(folder)
        self.epochs = epochs
        self.settings, _ = read_settings(self.folder / ABOUT)
        path = self.folder / _STATE
        try:
            self.state = _state(path.read_bytes()) if path.exists() else State()
        except (TypeError, ValueError, RecursionError):
            raise SettingsChangedError(
                f"{path} cannot be read: it is damaged, or of another version of fcam_tf; {REMEDY}"
            ) from None

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return bool(self.state.history) and self.state.epoch >= self.epochs

    @property
    def best(self) -> Path:
        """The model of the best epoch."""
        return self.folder / BEST

    @property
    def chosen(self) -> dict[str, float]:
        """The history's row of the best epoch."""
        return self.state.history[self.state.best or 0]

    def restore(self, model: keras.Model) -> None:
        """Bring model and optimizer to the end of the last finished epoch, if there is one."""
        from fcam_tf.models.saved import WeightsInMemory  # noqa: PLC0415 - Keras

        # Built first: Keras keeps no state of an optimizer that has not seen its variables.
        model.optimizer.build(model.trainable_variables)
        if self.state.weights:
            weights = (self.folder / self.state.weights).read_bytes()
            model.load_weights(WeightsInMemory(weights))

    def state_files(self) -> list[Path]:
        """Return the files that a training goes on from, and what they were made with."""
        names = (ABOUT, _STATE, self.state.weights, _average(self.state.weights))
        return [path for path in (self.folder / name for name in names if name) if path.exists()]

    def average(self) -> list[np.ndarray] | None:
        """Return the moving average of the weights after the last epoch, if one is kept."""
        path = self.folder / _average(self.state.weights)
        if not (self.state.weights and path.exists()):
            return None
        with np.load(path) as arrays:
            return list(arrays.values())

    def save_epoch(
        self,
        model: keras.Model,
        epoch: int,
        logs: dict[str, float],
        best: bool,
        average: MovingAverage | None = None,
    ) -> None:
        """Record a finished epoch, 0 before any training; keep the model if it is the best yet."""
        if best:
            averaged = average.in_model() if average else contextlib.nullcontext()
            with replacing(self.best) as part, averaged:
                model.save(part)
        weights = f"epoch{epoch}.weights.h5"
        if average:
            with replacing(self.folder / _average(weights)) as part, part.open("wb") as file:
                np.savez(file, *average.values())
        from fcam_tf.models.saved import WeightsInMemory  # noqa: PLC0415 - Keras

        memory = WeightsInMemory()
        model.save_weights(memory)
        write_atomically(self.folder / weights, memory.getbuffer())
        previous = self.state.weights
        self.state = State(
            epoch,
            [*self.state.history, {"epoch": epoch, **logs}],
            len(self.state.history) if best else self.state.best,
            weights,
        )
        write_json(self.folder / _STATE, dataclasses.asdict(self.state))
        if previous and previous != weights:
            for name in (previous, _average(previous)):
                (self.folder / name).unlink(missing_ok=True)
        write_csv(self.folder / _TABLE, self.state.history)


@contextlib.contextmanager
def open_run(
    folder: str | Path,
    settings: Mapping[str, Any],
    epochs: int,
    asked: Mapping[str, Any] | None = None,
    times: str | None = None,
) -> Iterator[RunFolder]:
    """Claim the folder of a training run until the block ends, and put right what a kill left.

    Args:
        folder: the folder; made if need be.
        settings: everything that the run depends on, as JSON values.
        epochs: how many there will be.
        asked: what `recall_run` will know the run by.
        times: of the files of its photos, see `fcam_tf.identity.times_sha256`. A run that goes on
            with others warns: they may be a copy of the data, or have changed.

    Raises:
        SettingsChangedError: the folder holds a run with other settings, of an epoch or more.
        FolderBusyError: another process is training there.
    """
    folder = Path(folder)
    notes = {"environment": environment(), "asked": asked, TIMES: times}
    # Without a state, or with one before any training, there is nothing that could be lost.
    afresh = _untrained(folder)
    with claim(folder, settings, [_STATE], file=ABOUT, notes=notes, overwrite=afresh) as claimed:
        _, before = read_settings(folder / ABOUT)
        done = claimed.goes_on and RunFolder(folder, epochs).finished
        made_in = {"environment": before["environment"]} if done and "environment" in before else {}
        claimed.begin(**made_in)
        run = RunFolder(folder, epochs)
        if run.state.history:
            compare_times(before, notes)
        kept = (run.state.weights, _average(run.state.weights))
        for stray in (*folder.glob("epoch*.weights.h5"), *folder.glob("epoch*.average.npz")):
            if stray.name not in kept:
                stray.unlink()
        if run.state.history:
            write_csv(folder / _TABLE, run.state.history)
        yield run


def _state(data: bytes) -> State:
    """Return what ``state.json`` holds; ValueError or TypeError where it is damaged."""
    state = State(**json.loads(data))
    rows = state.history if isinstance(state.history, list) else [None]
    whole = (type(state.epoch), type(state.best or 0)) == (int, int)
    # The file of that name is removed once there is a newer one.
    ours = re.fullmatch(r"(epoch\d+\.weights\.h5)?", state.weights)
    if not (whole and ours and all(isinstance(row, dict) for row in rows)):
        raise ValueError("its values are of other kinds")
    if not -1 < (state.best or 0) < max(1, len(rows)):
        raise ValueError("the best epoch is none of the history")
    return state


def _average(weights: str) -> str:
    """Return the name of the file beside that of an epoch's weights."""
    return weights.replace(".weights.h5", ".average.npz")


def _untrained(folder: Path) -> bool:
    """Tell whether a run ended before its first epoch, such as on a broken photo."""
    settings, _ = read_settings(folder / ABOUT)
    try:
        run = RunFolder(folder, settings["recipe"]["epochs"])
    except (KeyError, TypeError, SettingsChangedError):
        return False
    return run.state.epoch == 0 and not run.finished


def recall_run(folder: str | Path, asked: Mapping[str, Any]) -> RunFolder | None:
    """Return the finished run in a folder, if the same was asked for; no model is needed for that.

    Args:
        folder: the folder.
        asked: all that decides the run, as JSON values, see `same_asked`.
    """
    settings, notes = read_settings(Path(folder, ABOUT))
    if not same_asked(notes.get("asked"), asked):
        return None
    run = RunFolder(folder, settings["recipe"]["epochs"])
    whole = all((run.folder / name).is_file() for name in (BEST, PLOT))
    if not (run.finished and whole):
        return None
    compare_times(notes["asked"], asked)
    return run


def same_asked(before: Any, now: Mapping[str, Any]) -> bool:
    """Tell whether the same is asked for as before, wherever the files of its photos are from."""
    return isinstance(before, dict) and _timeless(before) == json.loads(json.dumps(_timeless(now)))


def _timeless(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if name != TIMES}


def compare_times(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Warn where names and sizes of photos are those of before, as the settings say, but not more.

    Bytes are not compared: reading all photos would take long.
    """
    times = {before.get(TIMES), now.get(TIMES)} - {None}  # workers of a cluster have none
    if len(times) > 1:
        warnings.warn(
            "Photos or masks have been rewritten since this training began, with the same names "
            "and sizes. They are taken for a copy of the same data. If their content has changed, "
            "remove the folder and train again.",
            stacklevel=3,
        )


def changed_settings(folder: str | Path, settings: Mapping[str, Any]) -> list[str]:
    """Say what `open_run` would refuse of the run in a folder, of an epoch or more.

    Args:
        folder: the folder; it need not exist.
        settings: those of `open_run`, as far as they are known.

    Returns:
        The settings that differ, with both values; and that the chosen model is gone.
    """
    folder = Path(folder)
    if not (folder / _STATE).exists() or _untrained(folder):
        return []
    gone = [] if (folder / BEST).exists() else [f"{BEST} is gone"]
    return [*differences(folder / ABOUT, settings), *gone]


def environment() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    import keras  # noqa: PLC0415 - what is done already needs none of it

    names = ("tensorflow", "keras", "keras-cv", "numpy", "scikit-image")
    return {
        "fcam_tf": fcam_tf.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "backend": keras.backend.backend(),
        **{name: found.version for name in names for found in metadata.distributions(name=name)},
    }
