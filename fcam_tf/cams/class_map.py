"""Heads that have a map for each class, and that map."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from fcam_tf.cams.base import CAM, normalize
from fcam_tf.cams.split_classifier import chosen_classes


class ClassMapHead(keras.layers.Layer, abc.ABC):
    """A head that scores each class by a map of its own.

    It is called on a list of maps, the last of which is the top map (B, h, w, C). It returns a
    list: logits (B, classes) float32, then what `losses_of` needs.
    """

    @abc.abstractmethod
    def class_map(self, top: Any, labels: Any) -> Any:
        """Return the maps of labels (B,) int32 before normalisation, (B, h, w) float32."""

    @abc.abstractmethod
    def losses_of(self, maps: Sequence[Any], outputs: Sequence[Any], labels: Any) -> Any:
        """Return the loss that is added to each image's cross-entropy, (B,).

        ``maps`` are the maps that the head was called on, ``outputs`` what it returned after the
        logits.
        """


class HeadClassMap(CAM):
    """The map that a head has for each class: ACoL's and SPG's.

    Raises:
        ValueError: the model's head has no class maps.
    """

    name = "class_map"

    def __init__(self, model: keras.Model, layer: Any = None, **options: Any) -> None:
        super().__init__(model, layer, **options)
        has_maps = hasattr(self.split.head, "class_map")
        if not has_maps or layer is not None:
            raise ValueError(
                "`method` needs a classifier whose head has a map for each class, such as "
                "Classifier(..., baseline='acol'), and no `layer`. Received "
                f"{'a `layer`' if has_maps else 'another classifier'}; 'layercam' explains any "
                "layer."
            )

    @property
    def needs_only_features(self) -> bool:
        return not self.averages

    def raw_maps(self, images: Any, labels: Any) -> tuple[Any, Any]:
        (top,), logits = self.split.maps_and_logits(images)
        return self.split.head.class_map(top, chosen_classes(labels, logits)), logits

    def from_features(self, features: Any, labels: Any, logits: Any) -> Any:
        return normalize(self.split.head.class_map(features, chosen_classes(labels, logits)))


def of_class(maps: Any, labels: Any) -> Any:
    """Select the map of each image's label from maps (B, h, w, classes): (B, h, w) float32."""
    maps = ops.take_along_axis(maps, labels[:, None, None, None], axis=-1)
    return ops.cast(maps[..., 0], "float32")
