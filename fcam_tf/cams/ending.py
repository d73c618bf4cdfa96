"""How a classifier ends: its logits, and whether it gives them or probabilities."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from fcam_tf.graphs import graph

L = keras.layers
_SIDE = 64  # pixels of the images that an opaque ending is tried on
# By the name of an activation, an operation or a layer. A log-softmax gives logits less what all
# classes have in common, so that it counts as logits wherever no gradient is taken.
_ENDINGS = {
    "softmax": "softmax",
    "softmax_v2": "softmax",  # of TensorFlow
    "sigmoid": "sigmoid",
    "log_softmax": "log_softmax",
    "log_softmax_v2": "log_softmax",
    "logsoftmax": "log_softmax",
}


def ending(operation: Any) -> str:
    """Return "softmax", "sigmoid" or "log_softmax" for what ends in that, else ""."""
    function = getattr(operation, "activation", operation)
    return _ENDINGS.get(getattr(function, "__name__", type(function).__name__).lower(), "")


def before_probabilities(maker: Mapping[int, graph.Step], output: Any) -> tuple[Any, Any]:
    """Return the last dense layer and its input, or None and the scores before any softmax.

    Raises:
        ValueError: the softmax or sigmoid is part of a layer that is more than a dense one.
    """
    step = maker[id(output)]
    operation, end = step.operation, ending(step.operation)
    linear = getattr(operation, "activation", None) in (None, keras.activations.linear)
    if _is_dense(operation) and (linear or end):
        return operation, step.inputs[0]
    if not end:
        return None, output
    if getattr(operation, "weights", None):
        raise ValueError(
            f"`model` ends in the layer {operation.name!r}, whose {end} cannot be taken off. Give "
            f"it no activation, and the model a layer Activation({end!r}) behind it."
        )
    return before_probabilities(maker, step.inputs[0])


def _is_dense(operation: Any) -> bool:
    """Tell whether a layer computes x @ kernel + bias and nothing else."""
    return (
        isinstance(operation, L.Dense)
        and type(operation).call is L.Dense.call
        and operation.quantization_mode is None
    )


def logits_output(model: keras.Model) -> Any:
    """Return the symbolic logits (B, classes) of a flat functional classifier.

    A dense layer that ends in a softmax or sigmoid loses it: ``model`` gives logits afterwards. Of
    opaque probabilities it is the logarithm.
    """
    steps = graph.steps(model)
    maker = graph.makers(steps)
    dense, before = before_probabilities(maker, model.outputs[0])
    if dense is None:
        return logarithm(before) if ends_in_opaque_probabilities(model, maker) else before
    dense.activation = keras.activations.linear
    return next(step.outputs[0] for step in steps if step.inputs and step.inputs[0] is before)


def logarithm(probabilities: Any) -> Any:
    """Return what a softmax makes probabilities of, finite everywhere."""
    return ops.log(ops.maximum(probabilities, keras.config.epsilon()))


def gives_probabilities(model: keras.Model) -> bool:
    """Tell whether a flat functional classifier ends in a softmax or sigmoid, not in logits."""
    maker = graph.makers(graph.steps(model))
    end = ending(maker[id(model.outputs[0])].operation)
    return end in ("softmax", "sigmoid") or ends_in_opaque_probabilities(model, maker)


def ends_in_opaque_probabilities(model: keras.Model, maker: Mapping[int, graph.Step]) -> bool:
    """Try out whether a function that Keras does not know gives probabilities; warn if it does."""
    operation = maker[id(model.outputs[0])].operation
    function = getattr(operation, "activation", None) or type(operation)
    known = getattr(function, "__module__", "").startswith(("keras.", "fcam_tf."))
    if ending(operation) or (known and not isinstance(operation, L.Lambda)):
        return False
    images = model.inputs[0]
    shape = (2, *(side or _SIDE for side in images.shape[1:]))
    tried = np.random.default_rng(0).uniform(0, 255, shape).astype(images.dtype)
    scores = np.asarray(ops.convert_to_numpy(model(tried, training=False)), np.float64)
    if scores.shape[-1] < 2 or scores.min() < 0 or np.abs(scores.sum(-1) - 1).max() > 1e-3:
        return False
    warnings.warn(
        f"`model` ends in {operation.name!r}, whose outputs sum to one: they are taken for "
        "probabilities, and their logarithm is explained. End the model in logits, or in a Softmax "
        "layer, and the logits are.",
        stacklevel=2,
    )
    return True
