"""What an F-CAM answers: the object's map and the logits, with mirrored copies or without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from keras import ops

Outputs = Mapping[str, Any]  # of an F-CAM


def maps_and_logits(
    run: Callable[[Any], Outputs], images: Any, *, flip: bool = False
) -> tuple[Any, Any]:
    """Compute the object's probability and the logits of a batch, eagerly or in a graph.

    Args:
        run: images to the outputs of an F-CAM.
        images: (B, H, W, 3).
        flip: whether the maps are means of those of the images and of their mirror images, which
            are in one batch of 2 B. Logits are those of the images as they are.

    Returns:
        (B, H, W) float32 in [0, 1], and (B, classes) float32.
    """
    if not flip:
        outputs = run(images)
        return ops.softmax(outputs["fcam"])[..., 1], outputs["logits"]
    outputs = run(ops.concatenate([images, ops.flip(images, axis=2)]))
    straight, mirrored = ops.split(ops.softmax(outputs["fcam"])[..., 1], 2)
    logits, _ = ops.split(outputs["logits"], 2)
    return (straight + ops.flip(mirrored, axis=2)) / 2, logits
