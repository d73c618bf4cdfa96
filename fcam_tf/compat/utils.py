"""pydensecrf's helpers that make energies, with its axes: classes first, pixels flat."""

from __future__ import annotations

from typing import Any

import numpy as np

from fcam_tf import checks


def unary_from_labels(
    labels: Any, n_labels: int, gt_prob: float, zero_unsure: bool = True
) -> np.ndarray:
    """Return the energies of a map of labels that are right with probability ``gt_prob``.

    Args:
        labels: (H, W) integers; 1 to n_labels, and 0 where nothing is known, or with
            ``zero_unsure=False`` 0 to n_labels - 1.
        n_labels: 2 or more; what is unsure is not counted.
        gt_prob: in (0, 1); the other labels share the rest.
        zero_unsure: whether 0 stands for pixels at which all labels are equally likely.

    Returns:
        (n_labels, H * W) float32.

    Raises:
        ValueError: ``gt_prob`` is not in (0, 1), ``n_labels`` is below 2, or a label is out of
            range.
        TypeError: one of them is not a number.
    """
    checks.number("gt_prob", gt_prob, "(0, 1)")
    checks.whole("n_labels", n_labels, 2)
    classes = np.ravel(labels).astype(np.int64) - int(zero_unsure)
    if classes.size and not -int(zero_unsure) <= classes.min() <= classes.max() < n_labels:
        raise ValueError(
            f"`labels` must be 0 to {n_labels - 1 + int(zero_unsure)}. "
            f"Received: {np.min(labels)} to {np.max(labels)}."
        )
    known = classes >= 0
    probabilities = np.full((n_labels, classes.size), (1 - gt_prob) / (n_labels - 1))
    probabilities[classes[known], np.flatnonzero(known)] = gt_prob
    probabilities[:, ~known] = 1 / n_labels
    return -np.log(probabilities).astype(np.float32)


def unary_from_softmax(
    sm: Any, scale: float | None = None, clip: float | None = 1e-5
) -> np.ndarray:
    """Return the energies of probabilities.

    Args:
        sm: (n_labels, ...) in [0, 1].
        scale: in (0, 1]; mixes the probabilities with equal ones (label smoothing). None for 1.
        clip: the least probability; None for none.

    Returns:
        (n_labels, pixels) float32.

    Raises:
        ValueError: ``scale`` is not in (0, 1].
        TypeError: ``scale`` is not a number.
    """
    probabilities = np.asarray(sm, np.float64).reshape(len(sm), -1)
    if scale is not None:
        checks.number("scale", scale, "(0, 1]")
        probabilities = scale * probabilities + (1 - scale) / len(sm)
    if clip is not None:
        probabilities = np.clip(probabilities, clip, 1)
    return -np.log(probabilities).astype(np.float32)
