"""What a step of F-CAM is given beside the images: labels, masks and stored maps, the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops


def labels_of(targets: Mapping[str, Any], num_classes: int, activation: str = "softmax") -> Any:
    """Return the labels of a batch, (B,) int32; or (B, classes), of a classifier of sigmoids."""
    if targets.get("label") is None:
        keys = [name for name, value in targets.items() if value is not None]
        raise ValueError(
            "`y` must be class numbers (B,), or hold them as 'label'; -1 stands for the predicted "
            f"class. Received: {', '.join(keys) or None}."
        )
    labels = ops.cast(targets["label"], "int32")
    shape = tuple(labels.shape)
    if activation == "sigmoid" and shape[1:] == (num_classes,):
        return labels
    if len(shape) != 1 and shape[1:] != (1,):
        raise ValueError(
            "`y` must give one class number for each image, (B,) or (B, 1). Received: labels of "
            f"shape {shape}. Take the argmax of one-hot rows; rows of "
            "several classes need a classifier that ends in a sigmoid."
        )
    return ops.reshape(labels, (-1,))


def checked(labels: Any, num_classes: int) -> Any:
    """Return labels that a step of TensorFlow refuses where they are no classes."""
    if keras.backend.backend() != "tensorflow":
        return labels
    import tensorflow as tf  # noqa: PLC0415 - other backends run without it

    message = f"`y` must hold classes in [0, {num_classes}), or -1 for the predicted one"
    if len(labels.shape) == 2:
        message = "`y` must hold 1 for each class that an image shows, 0 for others, -1 for unknown"
    limit = num_classes if len(labels.shape) == 1 else 2
    fits = tf.debugging.Assert(tf.reduce_all(labels < limit), [message, labels])
    with tf.control_dependencies([fits]):
        return tf.identity(labels)


def planes(name: str, values: Any) -> Any:
    """Return maps that come as (B, h, w) or (B, h, w, 1) as (B, h, w)."""
    shape = tuple(values.shape)
    if len(shape) == 4 and shape[-1] == 1:
        return values[..., 0]
    if len(shape) != 3:
        raise ValueError(
            f"`y` must hold {name!r} as (B, h, w) or (B, h, w, 1), one value a pixel. Received: "
            f"shape {shape}."
        )
    return values


class Epoch(keras.metrics.Metric):
    """The number of the epoch in training: what `fit` sets and the loss reads.

    A metric, because its variable is not a weight of the model, yet part of a compiled step.
    """

    def __init__(self, name: str = "epoch") -> None:
        super().__init__(name=name, dtype="float32")
        # A metric's variables are sums over replicas by default: each would see a part of it.
        self.value = self.add_variable((), "ones", aggregation="mean", name="value")

    def update_state(self, epoch: Any) -> None:
        self.value.assign(epoch)

    def result(self) -> Any:
        return ops.convert_to_tensor(self.value)

    def reset_state(self) -> None:
        """Keep the number: it holds for an epoch, and evaluation in between does not change it."""
