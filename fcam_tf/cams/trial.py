"""Trying a model on random images, to learn about its tokens what the graph does not tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fcam_tf.cams import autodiff


def tokens_and_gradients(
    model: keras.Model, images: Any, x: Any, scored: Sequence[Any], *, around: bool
) -> tuple[Any, Any] | None:
    """Return tokens of two random images, and the gradient of a random sum of scores.

    Args:
        model: a flat functional model.
        images: its symbolic images; other inputs are set to ones.
        x: symbolic tokens (B, N, C) of it.
        scored: the symbolic tensors that the score is computed from.
        around: whether paths from the images to these also lead around ``x``.

    Returns:
        Both (2, N, C) float32; None if the tokens are not those of whole images, but for instance
        of windows.
    """
    draw = np.random.default_rng(0)
    tried = [
        draw.uniform(0, 255, (2, *(n or 2 for n in each.shape[1:]))).astype(each.dtype)
        if each is images
        else np.ones((2, *(n or 2 for n in each.shape[1:])), each.dtype)
        for each in model.inputs
    ]
    start = keras.Model(model.inputs, x)(tried, training=False)
    if start.shape[0] != 2:
        return None
    others = [
        (tensor, value)
        for tensor, value in zip(model.inputs, tried, strict=True)
        if around or tensor is not images
    ]
    rest = keras.Model([x, *(tensor for tensor, _ in others)], list(scored))
    given = [ops.convert_to_tensor(value) for _, value in others]
    weights = [draw.normal(size=tuple(n or 1 for n in each.shape)) for each in scored]

    def score() -> tuple[list[Any], Any, Any]:
        outputs = keras.tree.flatten(rest([start, *given], training=False))
        total = sum(
            ops.sum(ops.cast(y, "float32") * w.astype("float32"))
            for y, w in zip(outputs, weights, strict=True)
        )
        return [start], total, None

    _, (gradient,), _ = autodiff.gradients(score, start)
    return ops.cast(start, "float32"), ops.cast(gradient, "float32")
