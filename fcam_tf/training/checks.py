"""What is refused before a training begins, or after one of its epochs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from fcam_tf.data import Split
from fcam_tf.graphs.replicas import replicas
from fcam_tf.training.callbacks import TrainingDivergedError


def check_labels(split: Split, num_classes: int, lowest: int = 0) -> None:
    """Raise a ValueError unless all labels are classes of the model."""
    wrong = np.flatnonzero((split.labels < lowest) | (split.labels >= num_classes))
    if wrong.size:
        index = int(wrong[0])
        raise ValueError(
            f"`labels` must lie in [{lowest}, {num_classes}), the classes of the model. "
            f"{split.ids[index]} of {split.name!r} has {split.labels[index]}."
        )


def check_batches(images: int, batch_size: int) -> None:
    """Raise a ValueError where a batch would leave a device of the strategy without an image."""
    devices, rest = replicas(), images % batch_size
    if batch_size % devices or 0 < rest < devices:
        raise ValueError(
            f"`batch_size` must be a multiple of the {devices} devices, and leave an image for "
            f"each in the last batch. Received: {batch_size}, of {images} images."
        )


def check_precision(model: keras.Model, mixed: bool) -> None:
    """Raise a ValueError unless a model computes in half precision where a recipe says so.

    Losses are scaled by the policy of the model; what is computed in is that of its layers.
    """
    dtypes = {model.compute_dtype, *(layer.compute_dtype for layer in model.layers)}
    if not mixed == ("float16" in dtypes) == (model.compute_dtype == "float16"):
        raise ValueError(
            f"`recipe.mixed_precision` is {mixed}, but the model computes in "
            f"{model.compute_dtype} and its layers in {', '.join(sorted(dtypes))}. Build it, and a "
            "Classifier below it with `dtype`, in 'mixed_float16' or 'float32'."
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
