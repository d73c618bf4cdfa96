"""How the cores of the processor are divided among calls of a model that run at once."""

from __future__ import annotations

import os

_MOST = 4  # calls: each holds the activations of a batch
_BATCHES = 4  # for each call; of fewer, too much is done by the first or the last call alone
_THREADS = "TF_NUM_INTRAOP_THREADS"


def share_cores(batches: int) -> int:
    """Give each of several calls of a model cores of its own, and return how many calls.

    One call with a thread for each core takes more of the processor than several with fewer, and
    leaves cores idle: its threads wait for each other at the end of each operation. TensorFlow
    takes the number of threads of a call when it starts, so this comes before the first model.

    Args:
        batches: how many there are to do.

    Returns:
        1, where nothing is changed: on a GPU, on one core, for few batches, under another backend,
        where the user has set TF_NUM_INTRAOP_THREADS, or where TensorFlow has started already.
    """
    cores = len(os.sched_getaffinity(0))
    calls = min(_MOST, cores)
    if calls == 1 or batches < _BATCHES * calls or os.environ.get(_THREADS):
        return 1
    import keras  # noqa: PLC0415 - TensorFlow
    import tensorflow as tf  # noqa: PLC0415

    if keras.backend.backend() != "tensorflow" or tf.config.list_physical_devices("GPU"):
        return 1
    try:
        tf.config.threading.set_intra_op_parallelism_threads(cores // calls)
    except RuntimeError:
        return 1
    return calls
