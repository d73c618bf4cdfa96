"""The terms of the objective that need only the maps, or only the logits."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from fcam_tf.graphs.replicas import sum_over_replicas
from fcam_tf.masks import IGNORED


def partial_cross_entropy(logits: Any, seeds: Any) -> Any:
    """Compute the cross-entropy at the seeds, scaled so that its mean is the batch's mean.

    As in the published code, the mean over a batch is taken over all its labelled pixels, so an
    image with more of them has more weight. A batch without labelled pixels gives 0. If replicas of
    a TensorFlow strategy share a batch, labelled pixels are counted over all replicas.

    Args:
        logits: (B, H, W, 2), background and object; half precision is cast to float32.
        seeds: (B, H, W) integers: 1 object, 0 background, 255 ignored.

    Returns:
        (B,) float32, 0 or more, in nats: B times the image's sum, divided by the number of labelled
        pixels in the batch.
    """
    seeds = ops.cast(seeds, "int32")
    labelled = seeds != IGNORED
    # Of two classes the softmax is a sigmoid of their difference: a third of the time.
    background, foreground = ops.unstack(ops.cast(logits, "float32"), axis=-1)
    against = ops.where(seeds == 1, background - foreground, foreground - background)
    entropies = ops.sum(ops.where(labelled, ops.softplus(against), 0.0), axis=(1, 2))
    number = sum_over_replicas(ops.sum(ops.cast(labelled, "float32")))
    batch = sum_over_replicas(ops.cast(ops.shape(logits)[0], "float32"))
    return entropies * batch / ops.maximum(number, 1.0)


def extended_log_barrier(values: Any, t: Any = 1.0) -> Any:
    """Return the extended log-barrier of ``values <= 0`` (Kervadec et al. 2019).

    It is ``-log(-f) / t`` where f is at most ``-1 / t^2``, and from there on the straight line that
    continues it. So it is finite and has a gradient for values that violate the constraint, too.

    Args:
        values: f, any shape.
        t: scalar above 0; the larger it is, the closer to a hard constraint.

    Returns:
        float32, in the shape of ``values``.
    """
    values = ops.cast(values, "float32")
    t = ops.cast(t, "float32")
    limit = -1.0 / t**2
    # Both sides of a where are differentiated: the logarithm must not see what it cannot take.
    logarithm = -ops.log(-ops.minimum(values, limit)) / t
    line = t * values - ops.log(1.0 / t**2) / t + 1.0 / t
    return ops.where(values <= limit, logarithm, line)


def size_constraint(probabilities: Any, t: Any = 1.0) -> Any:
    """Return the barrier of the sizes of background and object (ASC; F-CAM, equation 3).

    The size of a class is the sum of its probability, in pixels. The constraint is that sizes are
    not below 0. The barrier falls slowly, so it pushes both sizes up, against each other, towards
    half of the image. Neither may vanish.

    Args:
        probabilities: (B, H, W, 2), background and object, in [0, 1].
        t: parameter of the barrier.

    Returns:
        (B,) float32, the mean of both classes; negative for sizes above one pixel.
    """
    sizes = ops.sum(ops.cast(probabilities, "float32"), axis=(1, 2))
    return ops.mean(extended_log_barrier(-sizes, t), axis=-1)


def entropy(logits: Any) -> Any:
    """Return the mean entropy of the pixels' probabilities.

    Args:
        logits: (B, H, W, K); half precision is cast to float32.

    Returns:
        (B,) float32, in bits: 0 to log2 K.
    """
    logs = ops.log_softmax(ops.cast(logits, "float32"))
    return -ops.mean(ops.sum(ops.exp(logs) * logs, axis=-1), axis=(1, 2)) / math.log(2)


def cross_entropy(labels: Any, logits: Any, activation: str = "softmax") -> Any:
    """Return the cross-entropy of each image's class, or classes.

    Args:
        labels: (B,) integers, negative if the class is not known. For sigmoids also (B, classes): 1
            for classes that are present, 0 for absent ones, negative for unknown.
        logits: (B, classes).
        activation: "softmax"; or "sigmoid" for the mean of the binary cross-entropies of the
            classes that are known.

    Returns:
        (B,), in nats; 0 if no class is known.
    """
    known = labels >= 0
    if activation == "sigmoid":
        logits = ops.cast(logits, "float32")
        if len(labels.shape) == 1:
            known = ops.broadcast_to(known[:, None], ops.shape(logits))
            labels = ops.one_hot(labels, logits.shape[-1], dtype="int32")
        there = ops.cast(labels > 0, "float32")
        each = ops.where(known, ops.binary_crossentropy(there, logits, from_logits=True), 0.0)
        return ops.sum(each, axis=1) / ops.maximum(ops.sum(ops.cast(known, "float32"), axis=1), 1.0)
    losses = keras.losses.sparse_categorical_crossentropy(
        ops.where(known, labels, 0), logits, from_logits=True
    )
    return ops.where(known, losses, 0.0)


@keras.saving.register_keras_serializable("fcam_tf")
class SparseSigmoidCrossentropy(keras.losses.Loss):
    """The mean binary cross-entropy of sigmoids, one for each class, against class numbers.

    Keras calls it on labels (B,) or (B, 1) and outputs (B, classes): the class of an image is
    present, all others are absent.

    Args:
        from_logits: whether the outputs are logits rather than probabilities.
        reduction: as for every Keras loss.
        name: name of the loss.
    """

    def __init__(
        self,
        from_logits: bool = False,
        reduction: str = "sum_over_batch_size",
        name: str = "sparse_sigmoid_crossentropy",
    ) -> None:
        super().__init__(name, reduction)
        self.from_logits = from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        labels = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        there = ops.one_hot(labels, y_pred.shape[-1], dtype=y_pred.dtype)
        return keras.losses.binary_crossentropy(there, y_pred, self.from_logits)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"from_logits": self.from_logits}
