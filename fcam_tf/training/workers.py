"""Training on several machines at once.

``fit`` of Keras 3 does not run under TensorFlow's strategy for several machines (docs/training.md
says where it ends), so the loop over its ``train_step`` is here. All machines have the same weights
and take the same steps, each with its part of every batch. The first of them has the run: it tells
the others its state, and they keep what they write in a folder that is removed.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fcam_tf.claim import SettingsChangedError, differences
from fcam_tf.graphs.replicas import machines
from fcam_tf.models.targets import Epoch
from fcam_tf.training.run_folder import ABOUT, RunFolder, open_run

# What TensorFlow raises when a machine is gone or its connections end.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
)


class WorkerLostError(ConnectionError):
    """Another machine of the training ended, or cannot be reached."""


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Train on the machines that TF_CONFIG names until the block ends, as each of them does.

    It waits until all are there. TensorFlow must have computed nothing before.

    Raises:
        WorkerLostError: another machine ended.
    """
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # it tells of each sum over the machines
    try:
        with tf.distribute.MultiWorkerMirroredStrategy().scope():
            yield
    except _LOST as error:
        reason = str(error.message).split("\n", 1)[0].rpartition("aborted by: ")[2].rstrip(":. ")
        raise WorkerLostError(
            f"another worker ended or cannot be reached ({reason}). Give the same command on every "
            "worker again: the training goes on after the last epoch that the first one finished"
        ) from None
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def open_together(
    folder: str | Path,
    settings: Mapping[str, Any],
    epochs: int,
    asked: Mapping[str, Any] | None = None,
    times: str | None = None,
) -> Iterator[RunFolder]:
    """Claim the folder of a run as `open_run` does, on the first machine, or one like it elsewhere.

    Raises:
        SettingsChangedError: see `open_run`; or this machine has other settings than the first.
        FolderBusyError: see `open_run`.
    """
    number, count = machines()
    if number == 0:
        with open_run(folder, settings, epochs, asked, times) as run:
            if count > 1:
                _broadcast(_packed(run))
            yield run
        return
    with tempfile.TemporaryDirectory(prefix="fcam-worker-") as copy:
        with zipfile.ZipFile(io.BytesIO(_broadcast(None))) as archive:
            archive.extractall(copy)
        if changes := differences(Path(copy, ABOUT), settings):
            raise SettingsChangedError(
                f"worker {number} would train otherwise than the first: {', '.join(changes)}; give "
                "the same command and the same data on every worker"
            )
        with open_run(copy, settings, epochs, asked) as run:
            yield run


def _packed(run: RunFolder) -> bytes:
    """Return a zip file of what a run goes on from."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for path in run.state_files():
            archive.write(path, path.name)
    return memory.getvalue()


def _broadcast(data: bytes | None) -> bytes:
    """Give all machines what the first one has; the others give None."""
    size = int(_of_the_first(np.array([len(data or b"")], np.int64))[0])
    words = np.zeros(-(-size // 8), np.int64)  # TensorFlow sends no bytes
    words.view(np.uint8)[:size] = np.frombuffer(data or bytes(size), np.uint8)
    return _of_the_first(words).tobytes()[:size]


def _of_the_first(values: np.ndarray) -> np.ndarray:
    """Return the first machine's array of those that the machines give, of one shape."""
    # Of a variable, the strategy sends the first machine's initial value to the others.
    variable = tf.Variable(values, trainable=False)
    local = tf.distribute.get_strategy().experimental_local_results(variable)
    return np.array(local[0])


def fit_together(
    model: keras.Model,
    parts: tf.data.Dataset,
    *,
    initial_epoch: int,
    epochs: int,
    steps_per_epoch: int,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: Any,
) -> None:
    """Train as ``fit`` does, on several machines, each of which calls this.

    Args:
        model: compiled under the strategy, with an optimizer that is built.
        parts: batches of the devices of this machine, one after the other, without end.
        initial_epoch: epochs that are done.
        epochs: the last epoch.
        steps_per_epoch: batches in an epoch.
        callbacks: as of ``fit``.
        verbose: as of ``fit``.
    """
    strategy = tf.distribute.get_strategy()

    # Traced once, for batches of any size: the steps of machines that trace anew at other times,
    # as where the last parts of an epoch differ in size, would no longer find each other.
    @tf.function
    def step(batches: Iterator[Any]) -> dict[str, tf.Tensor]:
        logs = strategy.run(model.train_step, args=(next(batches),))
        return {name: strategy.reduce("MEAN", x, axis=None) for name, x in logs.items()}

    counting = [model.epoch.counting()] if isinstance(getattr(model, "epoch", None), Epoch) else []
    told = keras.callbacks.CallbackList(
        [*counting, *callbacks],
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=steps_per_epoch,
    )
    model.stop_training = False
    # Else the machines would ask each other before each step whether there are images left.
    parts = parts.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    batches = iter(strategy.distribute_datasets_from_function(lambda _: parts))
    told.on_train_begin()
    for epoch in range(initial_epoch, epochs):
        model.reset_metrics()
        told.on_epoch_begin(epoch)
        for number in range(steps_per_epoch):
            told.on_train_batch_begin(number)
            told.on_train_batch_end(number, step(batches))
        told.on_epoch_end(epoch, dict(model.get_metrics_result()))
        if model.stop_training:
            break
    told.on_train_end()
