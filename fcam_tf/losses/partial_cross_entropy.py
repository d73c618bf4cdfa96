"""Partial cross-entropy: the cross-entropy of the pixels that seeds name, and of no others."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from fcam_tf.graphs.replicas import sum_over_replicas
from fcam_tf.losses.seeds import IGNORE


def partial_cross_entropy(logits: Any, seeds: Any) -> Any:
    """Return the cross-entropy at the seeds, so scaled that its mean is the batch's mean.

    As in the published code the mean over a batch is taken over all its labelled pixels, so an
    image with more of them weighs more. A batch without any gives 0. Where replicas of a
    TensorFlow strategy share a batch, its labelled pixels are counted over all of them.

    Args:
        logits: (B, H, W, 2), background and object; half precision is cast to float32.
        seeds: (B, H, W) integers: 1 object, 0 background, 255 ignored.

    Returns:
        (B,) float32, 0 or more, in nats: B times the image's sum over the batch's labelled pixels.
    """
    seeds = ops.cast(seeds, "int32")
    labelled = seeds != IGNORE
    log_probabilities = ops.log_softmax(ops.cast(logits, "float32"))
    chosen = ops.where(seeds == 1, log_probabilities[..., 1], log_probabilities[..., 0])
    entropies = ops.sum(ops.where(labelled, -chosen, 0.0), axis=(1, 2))
    number = sum_over_replicas(ops.sum(ops.cast(labelled, "float32")))
    batch = sum_over_replicas(ops.cast(ops.shape(logits)[0], "float32"))
    return entropies * batch / ops.maximum(number, 1.0)


@keras.saving.register_keras_serializable("fcam_tf")
class PartialCrossEntropy(keras.losses.Loss):
    """`partial_cross_entropy` for ``compile``: targets are seeds, predictions are logits.

    Args:
        weight: factor of the loss.
        name: of the loss in logs.
    """

    def __init__(self, weight: float = 1.0, name: str = "partial_cross_entropy") -> None:
        super().__init__(name=name, reduction="sum_over_batch_size")
        self.weight = weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.weight * partial_cross_entropy(y_pred, y_true)

    def get_config(self) -> dict[str, Any]:
        return {"weight": self.weight, "name": self.name}
