"""The two things that keras.ops lacks: gradients, and compiling a function."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` as one graph where the backend is TensorFlow, else as it is."""
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf  # noqa: PLC0415 - not there under every backend

    # A partial has no code object, by which TensorFlow would count the traces of all instances of a
    # method as one and warn of retracing.
    return tf.function(functools.partial(function), reduce_retracing=True, autograph=False)


def gradients(
    function: Callable[[], tuple[list[Any], Any, Any]], watched: Any = None
) -> tuple[list[Any], list[Any], Any]:
    """Differentiate a score with respect to tensors met on the way to it.

    Args:
        function: returns the tensors, the scores (B,) and anything else that is wanted.
        watched: a tensor to differentiate by that is computed before ``function`` runs.

    Returns:
        The tensors, the gradient of the sum of the scores by each of them, and the rest.

    Raises:
        NotImplementedError: the backend is not TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise NotImplementedError(
            "this map needs gradients through the model, which are there under the TensorFlow "
            "backend only. Received: KERAS_BACKEND="
            f"{keras.backend.backend()}. A head of global average pooling and one dense layer "
            "needs none."
        )
    import tensorflow as tf  # noqa: PLC0415

    with tf.GradientTape() as tape:
        if watched is not None:
            tape.watch(watched)
        tensors, scores, rest = function()
    zero = tf.UnconnectedGradients.ZERO
    return tensors, tape.gradient(scores, tensors, unconnected_gradients=zero), rest
