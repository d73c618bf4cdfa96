"""The two things that keras.ops lacks: gradients, and compiling a function."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras

from fcam_tf import lazy_tensorflow as tf


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function`` to a graph if the backend is TensorFlow, else see `uncompiled`."""
    if keras.backend.backend() != "tensorflow":
        return uncompiled(function)
    # A partial has no code object, by which TensorFlow would count the traces of all instances of a
    # method as one and warn of retracing.
    return tf.function(functools.partial(function), reduce_retracing=True, autograph=False)


def uncompiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` as it is, but without gradients under torch.

    For these PyTorch would keep all that is computed, and NumPy would refuse the results.
    """
    if keras.backend.backend() != "torch":
        return function
    import torch  # noqa: PLC0415

    return torch.no_grad()(function)


def gradients(
    function: Callable[[], tuple[list[Any], Any, Any]], watched: Any = None
) -> tuple[list[Any], list[Any], Any]:
    """Differentiate the sum of scores with respect to intermediate tensors.

    ``function`` returns the tensors, the scores (B,) and anything else that is needed; ``watched``
    is a tensor that is computed before them. Returns tensors, gradients and the rest.
    """
    if keras.backend.backend() != "tensorflow":
        raise NotImplementedError(
            "this map needs gradients through the model, and so it needs the TensorFlow backend. "
            f"Received: KERAS_BACKEND={keras.backend.backend()}. A head of global average pooling "
            "and one dense layer needs none."
        )
    with tf.GradientTape() as tape:
        if watched is not None:
            tape.watch(watched)
        tensors, scores, rest = function()
    zero = tf.UnconnectedGradients.ZERO
    return tensors, tape.gradient(scores, tensors, unconnected_gradients=zero), rest
