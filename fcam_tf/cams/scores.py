"""What can be explained instead of the score of a class: functions of a model's outputs.

Pass any of them to ``cams.get(..., score=)``. It is called with the model's outputs, float32,
before a final softmax or sigmoid if there is one: one tensor, or all of them in the model's own
structure. It returns one number for each image, (B,). Functions of your own do the same, in
``keras.ops`` or TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from fcam_tf import checks

Score = Callable[[Any], Any]


def binary_logit(*, positive: bool = True) -> Score:
    """Return the logit of one output (B, 1) or (B,), for or against the positive class."""
    sign = 1.0 if positive else -1.0

    def score(outputs: Any) -> Any:
        return sign * _column(outputs if len(outputs.shape) > 1 else outputs[:, None], 0, only=True)

    return score


def difference(label: int, other: int) -> Score:
    """Return the logit of a class minus that of another: why this class and not that one."""
    checks.whole("label", label, 0)
    checks.whole("other", other, 0)

    def score(outputs: Any) -> Any:
        return _column(outputs, label) - _column(outputs, other)

    return score


def value(index: int = 0) -> Score:
    """Return one of the outputs (B, values) of a regression."""
    checks.whole("index", index, 0)
    return lambda outputs: _column(outputs, index)


def region_mean(label: int, region: Any = None) -> Score:
    """Return the mean logit of a segmentation's class over a region (Seg-Grad-CAM).

    Vinogradova et al., AAAI 2020, who add up the pixels; the map is the same.

    Args:
        label: the class, a channel of the outputs (B, H, W, classes).
        region: (H, W), or (B, H, W) with one region per image: bool, or weights of 0 or more. None
            takes all pixels.

    Raises:
        TypeError, ValueError: ``label`` or ``region`` is not valid; or, when it is called, the
            outputs have another shape.
    """
    checks.whole("label", label, 0)
    weights = None if region is None else np.asarray(region, np.float32)
    if weights is not None and (
        weights.ndim not in (2, 3) or not np.isfinite(weights).all() or weights.min() < 0
    ):
        raise ValueError(
            "`region` must be (H, W) or (B, H, W), bool or weights of 0 or more. Received: shape "
            f"{weights.shape}, in [{weights.min()}, {weights.max()}]."
        )
    if weights is not None and not weights.any((-2, -1)).all():
        raise ValueError("`region` must contain a pixel of each image. Received: an empty region.")

    def score(outputs: Any) -> Any:
        if len(outputs.shape) != 4 or label >= outputs.shape[-1]:
            raise ValueError(
                f"`score` needs outputs (B, H, W, classes) with class {label}. Received: shape "
                f"{tuple(outputs.shape)}."
            )
        logits = outputs[..., label]
        if weights is None:
            return ops.mean(logits, axis=(1, 2))
        if any(
            n not in (None, m) for n, m in zip(logits.shape[1:], weights.shape[-2:], strict=True)
        ):
            raise ValueError(
                f"`region` must have the size of the outputs, {tuple(logits.shape[1:])}. Received: "
                f"shape {weights.shape}."
            )
        each = ops.convert_to_tensor(weights if weights.ndim == 3 else weights[None])
        return ops.sum(logits * each, axis=(1, 2)) / ops.sum(each, axis=(1, 2))

    return score


def similarity(embedding: Any) -> Score:
    """Return the cosine similarity of the outputs (B, C) and an embedding, (C,) or (B, C)."""
    wanted = np.asarray(embedding, np.float32)
    if wanted.ndim not in (1, 2) or not np.isfinite(wanted).all() or not wanted.any(-1).all():
        raise ValueError(
            "`embedding` must be (C,) or (B, C), finite and not zero. Received: shape "
            f"{wanted.shape}."
        )

    def score(outputs: Any) -> Any:
        if len(outputs.shape) != 2 or outputs.shape[-1] != wanted.shape[-1]:
            raise ValueError(
                f"`embedding` must have the size of the outputs, {tuple(outputs.shape)}. Received: "
                f"shape {wanted.shape}."
            )
        return ops.sum(ops.normalize(outputs, axis=-1) * ops.normalize(wanted, axis=-1), axis=-1)

    return score


def _column(outputs: Any, index: int, *, only: bool = False) -> Any:
    shape = tuple(getattr(outputs, "shape", ()))
    if len(shape) != 2 or index >= shape[-1] or (only and shape[-1] != 1):
        wanted = "one value (B, 1)" if only else f"(B, n) with n above {index}"
        raise ValueError(
            f"`score` needs outputs {wanted}. Received: shape {shape}. Of several outputs, "
            "`output=` names one."
        )
    return outputs[:, index]
