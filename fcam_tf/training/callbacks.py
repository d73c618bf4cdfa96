"""What happens between the steps: validation, keeping the best, stopping on NaN."""

from __future__ import annotations

from collections.abc import Callable
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
        validate: gives the scores of the model as it is, in percent.
        select: name of the score to select by; without such a score the last epoch is kept.
    """

    def __init__(
        self, run: RunFolder, validate: Callable[[], dict[str, float]], select: str
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
        logs.update({VALIDATION_PREFIX + name: x for name, x in self.validate().items()})
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
