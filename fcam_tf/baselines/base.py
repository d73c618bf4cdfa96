"""What a training-time baseline may change of a classifier: its batches, its network, its loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from fcam_tf import lazy_tensorflow as tf
from fcam_tf.cams.base import CAM
from fcam_tf.cams.class_map import ClassMapHead
from fcam_tf.cams.gradient import ClassActivationMap


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A way to train a classifier whose maps localise better; by itself it changes nothing.

    The fields of a subclass are its hyper-parameters; plain numbers, so that a saved model
    remembers them. `fcam_tf.models.Classifier` calls the hooks when it is built.
    """

    name: ClassVar[str] = ""
    # Makes the map of a classifier trained so; `HeadClassMap` where there is a `head` for that.
    cam: ClassVar[type[CAM]] = ClassActivationMap
    augments: ClassVar[bool] = False  # whether `augment` changes anything

    def augment(self, images: Any, labels: Any, seed: Any = None) -> tuple[Any, Any]:
        """Change a batch of training images and their labels; ``dataset.map`` takes this.

        Args:
            images: (B, H, W, 3) float32 RGB in [0, 255], TensorFlow.
            labels: (B,) int.
            seed: two integers, from which everything is drawn; None draws anew.

        Returns:
            The images, and labels as `fcam_tf.models.Classifier` takes them.
        """
        del seed
        return images, labels

    def attention(self, name: str) -> Any:
        """Return the layer for one of the backbone's points of attention, or None.

        The layer gives the features that go on, and may give the attention (B, h, w) beside them.
        """
        del name

    def top(self, top: Any, attentions: Sequence[Any]) -> Any:
        """Return the top map that goes to the head, given the attentions before it."""
        del attentions
        return top

    def head(self, num_classes: int, filters: Mapping[str, int], name: str) -> ClassMapHead:
        """Return the layer from the maps to logits, where ``cam`` is `HeadClassMap`.

        Args:
            num_classes: number of classes.
            filters: channels that suit the backbone, see ``BackboneSpec.branch_filters``.
            name: of the layer.
        """
        raise NotImplementedError


def draw_key(seed: Any, salt: int) -> Any:
    """Return what TensorFlow's stateless random functions draw from.

    Two integers as ``seed`` make a training run repeat, None draws anew each time; ``salt`` tells
    several draws from one seed apart.
    """
    if seed is None:
        return tf.random.uniform((2,), maxval=tf.int64.max, dtype=tf.int64)
    return tf.random.experimental.stateless_fold_in(tf.cast(seed, tf.int64), salt)
