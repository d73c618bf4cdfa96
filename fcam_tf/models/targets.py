"""The targets of an F-CAM training step: labels, coarse maps and masks, and the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from fcam_tf import cams
from fcam_tf import lazy_tensorflow as tf
from fcam_tf.graphs.resize import resize


def labels_of(targets: Mapping[str, Any], num_classes: int, activation: str = "softmax") -> Any:
    """Return the labels of a batch, (B,) int32; or (B, classes) for a classifier with sigmoids.

    Raises:
        ValueError: they are missing, or have another shape.
        tf.errors.InvalidArgumentError: they are not classes. Other backends do not check values.
    """
    given = targets.get("label")
    if given is None:
        keys = [name for name, value in targets.items() if value is not None]
        raise ValueError(
            "`y` must be class numbers (B,), or hold them as 'label'; -1 stands for the predicted "
            f"class. Received: {', '.join(keys) or None}."
        )
    labels = ops.cast(given, "int32")
    if getattr(labels.shape, "rank", 0) is None:  # TensorFlow traces one step for both
        raise ValueError(
            "`y` must have one form in all calls of `fit`. Received: class numbers (B,) and rows "
            "(B, classes). Compile the model again before you give the other form."
        )
    shape = tuple(labels.shape)
    if activation == "sigmoid" and shape[1:] == (num_classes,):
        wanted = "1 for each class that an image shows, 0 for others, -1 for unknown"
        return _checked(labels, given, 2, wanted)
    if len(shape) != 1 and shape[1:] != (1,):
        raise ValueError(
            "`y` must give one class number for each image, (B,) or (B, 1). Received: labels of "
            f"shape {shape}. Take the argmax of one-hot rows; rows of "
            "several classes need a classifier that ends in a sigmoid."
        )
    wanted = f"class numbers in [0, {num_classes}), or -1 for the predicted class"
    return _checked(ops.reshape(labels, (-1,)), given, num_classes, wanted)


def _checked(labels: Any, given: Any, limit: int, wanted: str) -> Any:
    """Return labels that a step refuses unless they are below a limit and were whole numbers."""
    if keras.backend.backend() != "tensorflow":
        return labels
    given = tf.convert_to_tensor(given)
    fits = tf.reduce_all(labels < limit)
    if given.dtype.is_floating:
        fits &= tf.reduce_all(given == tf.round(given))
    check = tf.debugging.Assert(fits, [f"`y` must contain {wanted}. Received:", given])
    with tf.control_dependencies([check]):
        return tf.identity(labels)


def planes(name: str, values: Any) -> Any:
    """Convert maps (B, h, w) or (B, h, w, 1) to (B, h, w)."""
    shape = tuple(values.shape)
    if len(shape) == 4 and shape[-1] == 1:
        return values[..., 0]
    if len(shape) != 3:
        raise ValueError(
            f"`y` must hold {name!r} as (B, h, w) or (B, h, w, 1), one value a pixel. Received: "
            f"shape {shape}."
        )
    return values


def coarse_maps(
    teacher: cams.CAM, images: Any, labels: Any, stored: Any, outputs: Mapping[str, Any]
) -> Any:
    """Return the maps that teach the decoder, (B, H, W) in [0, 1], without a gradient.

    Args:
        teacher: the CAM of the classifier.
        images: (B, H, W, 3).
        labels: those of `labels_of`. For labels (B, classes), the maximum over the maps of an
            image's classes is taken.
        stored: maps (B, h, w) or (B, h, w, 1) in [0, 1] that were made earlier, or None.
        outputs: "logits" of the model for the images and, in training, the "features" that its
            decoder reads. With a linear head the map follows from them without a second pass.
    """
    if stored is not None:
        maps = ops.cast(planes("cam", stored), "float32")
    elif len(labels.shape) == 2:
        rows, classes = (ops.cast(i, "int32") for i in _shown(labels))
        given = {name: ops.take(y, rows, 0) for name, y in outputs.items() if name != "fcam"}
        each = coarse_maps(teacher, ops.take(images, rows, 0), classes, None, given)
        maps = ops.segment_max(each, rows, num_segments=ops.shape(images)[0])
        return ops.maximum(maps, 0.0)  # of an image without any class
    elif "features" in outputs and teacher.needs_only_features:
        maps = teacher.from_features(outputs["features"], labels, outputs["logits"])
    else:
        maps, _ = teacher.normalized_maps(ops.cast(images, "float32"), labels)
    size = ops.shape(images)[1:3]
    return ops.stop_gradient(resize(maps[..., None], size)[..., 0])


def _shown(labels: Any) -> Any:
    """Return the rows and columns of the classes that images show."""
    try:
        return ops.nonzero(labels > 0)
    except TypeError as error:  # JAX's: it compiles a step for a number that it knows beforehand
        raise NotImplementedError(
            "rows of labels (B, classes) need a map for each class that is shown, and this backend "
            "compiles no step for a changing number. Received: KERAS_BACKEND="
            f"{keras.backend.backend()}. Give class numbers (B,) or stored maps as 'cam', or train "
            "with the TensorFlow backend."
        ) from error


class Epoch(keras.metrics.Metric):
    """The number of the current epoch, which `fit` sets and the loss reads.

    It is a metric because its variable is not a weight of the model, yet is part of a compiled
    step.
    """

    def __init__(self, name: str = "epoch") -> None:
        super().__init__(name=name, dtype="float32")
        # A metric's variables are sums over replicas by default: each would see a part of it.
        self.value = self.add_variable((), "ones", aggregation="mean", name="value")

    def update_state(self, epoch: Any) -> None:
        self.value.assign(epoch)

    def result(self) -> Any:
        return ops.convert_to_tensor(self.value)

    def counting(self) -> keras.callbacks.Callback:
        """Return the callback that sets the number at the start of each epoch, 1 for the first."""
        return keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, _: self.update_state(epoch + 1)
        )

    def reset_state(self) -> None:
        """Keep the number: it holds for an epoch, and evaluation in between does not change it."""
