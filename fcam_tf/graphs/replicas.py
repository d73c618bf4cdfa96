"""Training on several devices or machines: each replica sees its part of the batch."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from fcam_tf import lazy_tensorflow as tf


def replicas() -> int:
    """Return how many replicas the current TensorFlow strategy has; 1 without one."""
    if keras.backend.backend() != "tensorflow":
        return 1
    return tf.distribute.get_strategy().num_replicas_in_sync


def machines() -> tuple[int, int]:
    """Return which machine this is and how many train together; (0, 1) without such a strategy."""
    if keras.backend.backend() != "tensorflow":
        return 0, 1
    strategy = tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    resolver = strategy.cluster_resolver
    # The order that TensorFlow numbers replicas in: a chief, if one is named, and the workers.
    jobs = resolver.cluster_spec().as_dict()
    tasks = [(job, i) for job in ("chief", "worker") for i in range(len(jobs.get(job, ())))]
    return (tasks.index((resolver.task_type, resolver.task_id)), len(tasks)) if tasks else (0, 1)


def sum_over_replicas(x: Any) -> Any:
    """Add up what each replica has, inside a training step; a scalar tensor."""
    if replicas() == 1:
        return x
    context = tf.distribute.get_replica_context()
    if context is None:  # not in a step: Keras tries the loss once to see what it gives
        return x
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x)


def apart(generator: keras.random.SeedGenerator) -> keras.random.SeedGenerator:
    """Return what draws for this replica alone, inside a training step, in a generator's place.

    Each replica has a copy of a generator's state, and all would draw the same of it. Alone, and
    outside of a step, the generator itself draws.
    """
    if replicas() == 1:
        return generator
    context = tf.distribute.get_replica_context()
    return generator if context is None else _Apart(generator, context.replica_id_in_sync_group)


class _Apart(keras.random.SeedGenerator):
    """A generator of one replica, whose state is that of another generator."""

    def __init__(self, generator: keras.random.SeedGenerator, replica: Any) -> None:
        self._generator, self._replica = generator, replica

    def next(self, ordered: bool = True) -> Any:
        seed = self._generator.next(ordered)
        replica = tf.cast(self._replica, seed.dtype)
        return tf.random.experimental.stateless_fold_in(seed, replica)


def mean_over_replicas(values: Any) -> Any:
    """Average one value per image, (b,) float, over the images of all replicas.

    The gradient of the scalar reaches the values of every replica, and gradients of replicas are
    added up: a loss made of it must be divided by `replicas`.
    """
    number = ops.cast(ops.shape(values)[0], values.dtype)
    return sum_over_replicas(ops.sum(values)) / sum_over_replicas(number)
