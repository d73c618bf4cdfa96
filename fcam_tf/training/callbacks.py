"""What happens between the steps: keeping the best, stopping on NaN, TensorBoard."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fcam_tf.data import Split
from fcam_tf.explain import MapsAndLogits
from fcam_tf.training.ema import MovingAverage
from fcam_tf.training.run_folder import VALIDATION_PREFIX, RunFolder
from fcam_tf.visualize import overlay

_PHOTOS = 6  # whose maps TensorBoard shows


class TrainingDivergedError(ArithmeticError):
    """A loss is NaN or infinite."""

    ADVICE = "A lower learning rate or clip_norm may help."


class KeepBest(keras.callbacks.Callback):
    """Score each epoch on the validation split, and keep every epoch's state and the best model.

    The state before training counts as epoch 0 and may be the best. On ties the earliest wins.

    Args:
        run: where to keep them.
        validate: gives the scores of the model as it is, in percent.
        select: name of the score to select by; without such a score the last epoch is kept.
        average: what is scored and kept instead of the weights; a callback that comes before.
    """

    def __init__(
        self,
        run: RunFolder,
        validate: Callable[[], dict[str, float]],
        select: str,
        average: MovingAverage | None = None,
    ) -> None:
        super().__init__()
        self.run = run
        self.average = average
        self.validate = validate
        self.select = VALIDATION_PREFIX + select

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        if not self.run.state.history:
            self._finish(0, {})

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._finish(epoch + 1, {} if logs is None else logs)

    def _finish(self, epoch: int, logs: dict[str, float]) -> None:
        with self.average.in_model() if self.average else contextlib.nullcontext():
            logs.update({VALIDATION_PREFIX + name: x for name, x in self.validate().items()})
        state = self.run.state
        before = None if state.best is None else state.history[state.best].get(self.select)
        best = before is None or self.select not in logs or logs[self.select] > before
        row = {name: float(value) for name, value in logs.items()}
        self.run.save_epoch(self.model, epoch, row, best, self.average)


class StopOnNaN(keras.callbacks.Callback):
    """End training at the first loss that is NaN or infinite, and say which and when."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        # The total last: it is NaN wherever one of its terms is.
        for name, value in sorted((logs or {}).items(), key=lambda item: item[0] == "loss"):
            if not np.isfinite(value):
                step = int(self.model.optimizer.iterations)
                raise TrainingDivergedError(
                    f"{name} is {value} at step {step} (batch {batch} of its epoch). "
                    f"{TrainingDivergedError.ADVICE}"
                )


class OwnLine(keras.callbacks.Callback):
    """Ends the line of Keras's progress bar where a training ends early, by `end`.

    What is told next, such as why, would stand behind the bar otherwise.

    Args:
        verbose: as of ``fit``.
    """

    def __init__(self, verbose: Any) -> None:
        super().__init__()
        self._shows = verbose in (1, "auto") and keras.config.is_interactive_logging_enabled()
        self._begun = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        self._begun = False

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        self._begun = True

    def end(self) -> None:
        """End the line, if one is begun."""
        if self._shows and self._begun:
            sys.stdout.write("\n")
            sys.stdout.flush()


class Overlays(keras.callbacks.Callback):
    """Write the maps of a few images, evenly spread over a split, over their photos each epoch.

    Images are resized to a square of ``size`` pixels; ``folder`` is that of the logs.
    """

    def __init__(
        self, maps_and_logits: MapsAndLogits, split: Split, folder: str | Path, size: int
    ) -> None:
        from fcam_tf.data import evaluation_dataset  # noqa: PLC0415 - TensorFlow

        super().__init__()
        self.maps_and_logits = maps_and_logits
        self.folder = str(folder)
        chosen = np.unique(np.linspace(0, len(split) - 1, _PHOTOS).round().astype(int))
        self.split = split.subset(chosen)
        self._images, self._labels = next(
            iter(evaluation_dataset(self.split, size=size, batch_size=len(chosen)))
        )

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        import tensorflow as tf  # noqa: PLC0415 - not there under every backend

        self._summary = tf.summary
        self._writer = tf.summary.create_file_writer(self.folder)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        maps, _ = self.maps_and_logits(self._images, self._labels)
        with self._writer.as_default(step=epoch):
            for name, photo, heatmap in zip(
                self.split.ids, np.asarray(self._images, np.uint8), np.asarray(maps), strict=True
            ):
                self._summary.image(name, overlay(photo, heatmap)[None])
        self._writer.flush()


def tensorboard(
    maps_and_logits: MapsAndLogits, split: Split | None, folder: Path, size: int
) -> Sequence[keras.callbacks.Callback]:
    """Return the callbacks that write curves, and overlays where there is a split to show.

    The files go to ``logs`` in the folder; see `Overlays` for the arguments. TensorBoard is no
    longer part of TensorFlow: without it there are none.
    """
    if find_spec("tensorboard") is None:
        return []
    logs = folder / "logs"
    callbacks = [keras.callbacks.TensorBoard(logs, write_graph=False)]
    if split is not None:
        callbacks.append(Overlays(maps_and_logits, split, logs / "maps", size))
    return callbacks
