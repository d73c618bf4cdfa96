"""What happens between the steps: validation, keeping the best, stopping on NaN."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from fcam_tf.training.run_folder import VALIDATION_PREFIX, RunFolder


class TrainingDivergedError(ArithmeticError):
    """A loss is NaN or infinite."""

    ADVICE = "A lower learning rate or clip_norm may help."


class KeepBest(keras.callbacks.Callback):
    """Score each epoch on the validation split, and keep every epoch's state and the best model.

    The state before training counts as epoch 0 and may be the best. On ties the earliest wins.

    Args:
        run: where to keep them.
        validate: gives the scores of the model as it is, in percent; None where there is nothing
            to select by: the last epoch is kept then.
        select: name of the score to select by.
    """

    def __init__(
        self, run: RunFolder, validate: Callable[[], dict[str, float]] | None, select: str
    ) -> None:
        super().__init__()
        self.run = run
        self.validate = validate
        self.select = VALIDATION_PREFIX + select

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        if not self.run.state.history:
            self._finish(0, {})

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._finish(epoch + 1, {} if logs is None else logs)

    def _finish(self, epoch: int, logs: dict[str, float]) -> None:
        scores = self.validate() if self.validate else {}
        logs.update({VALIDATION_PREFIX + name: score for name, score in scores.items()})
        state = self.run.state
        before = None if state.best is None else state.history[state.best].get(self.select)
        best = before is None or self.select not in logs or logs[self.select] > before
        row = {name: float(value) for name, value in logs.items()}
        self.run.save_epoch(self.model, epoch, row, best)


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


def check_maps(maps_and_logits: Iterable[Any], step: Any) -> None:
    """Raise a TrainingDivergedError where maps or logits contain NaN or infinity.

    The last step of an epoch has no loss behind it that would show what it did.
    """
    for found in maps_and_logits:
        if not np.isfinite(np.asarray(found)).all():
            raise TrainingDivergedError(
                f"The maps contain NaN or infinity after step {int(step)}. "
                f"{TrainingDivergedError.ADVICE}"
            )
