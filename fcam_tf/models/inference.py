"""What an F-CAM predicts: the object's map and the logits, with or without mirrored copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from fcam_tf.graphs.resize import resize
from fcam_tf.localization import class_numbers

if TYPE_CHECKING:
    from fcam_tf.models.fcam import FCAM

Outputs = Mapping[str, Any]  # of an F-CAM


def maps_and_logits(
    run: Callable[[Any], Outputs], images: Any, *, flip: bool = False
) -> tuple[Any, Any]:
    """Compute the object's probability and the logits of a batch, eagerly or in a graph.

    Args:
        run: function from images to the outputs of an F-CAM.
        images: (B, H, W, 3).
        flip: whether to average the maps of the images and of their mirror images, which run in one
            batch of 2 B. Logits are those of the original images.

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


def class_maps_and_logits(
    model: FCAM, images: Any, labels: Any = None, *, flip: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Do what `FCAM.maps_and_logits` does, with the maps of labels if they are given.

    Raises:
        ValueError: see `FCAM.localize`.
    """
    maps, logits = model.maps_and_logits(images, labels, flip=flip)
    if labels is not None:
        labels = class_numbers(labels, len(maps), model.num_classes)
        maps = of_classes(model, maps, images, np.arange(len(maps)), labels)
    return maps, logits


def of_classes(model: FCAM, maps: Any, images: Any, rows: Any, labels: Any) -> np.ndarray:
    """Turn a decoder's maps into maps of classes: if two animals are shown, one remains.

    The maps are multiplied by the share of the class in each cell, see `fcam_tf.cams.ClassShare`.
    Regions without evidence for other classes do not change.

    Args:
        model: the F-CAM.
        maps: (B, H, W), as its `maps_and_logits` gives them.
        images: (B, H, W, 3) raw RGB in [0, 255].
        rows: (N,) int, the index of the image for each map.
        labels: (N,) int, the class of each map; -1 is the predicted one.

    Returns:
        (N, H, W) float32 in [0, 1], at most the object's probability.
    """
    shares = model.class_share(images, rows, labels)
    return maps[rows] * ops.convert_to_numpy(resize(shares[..., None], maps.shape[1:]))[..., 0]
