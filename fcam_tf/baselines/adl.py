"""ADL: a layer that hides or emphasises, in training, what a feature map attends to most."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

from fcam_tf import checks
from fcam_tf.baselines.base import Baseline
from fcam_tf.graphs.layers import KeepsDraws
from fcam_tf.graphs.replicas import apart


@keras.saving.register_keras_serializable("fcam_tf")
class AttentionDropout(KeepsDraws, keras.layers.Layer):
    """Multiply features by a map of their own attention (Choe and Shim, CVPR 2019).

    The attention a is the mean of the channels. For the whole batch one of two maps is drawn, by a
    generator of ``seed``: the drop mask, 0 where a >= ``threshold`` times its maximum, or the
    importance sigmoid(a). Nothing changes at inference, or while ``trainable`` is False. For
    ``drop_rate`` and ``threshold`` see `ADL`.

    Input and output: (B, h, w, C).
    """

    def __init__(
        self, drop_rate: float, threshold: float, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.drop_rate = drop_rate
        self.threshold = threshold
        self.seed_generator = keras.random.SeedGenerator(seed, name="draws")

    def call(self, features: Any, training: bool = False) -> Any:
        if not (training and self.trainable):
            return features
        attention = ops.mean(features, axis=-1, keepdims=True)
        peak = ops.max(attention, axis=(1, 2), keepdims=True)
        kept = ops.cast(attention < self.threshold * peak, features.dtype)
        drawn = keras.random.uniform((), dtype="float32", seed=apart(self.seed_generator))
        return features * ops.where(drawn < self.drop_rate, kept, ops.sigmoid(attention))


@dataclasses.dataclass(frozen=True)
class ADL(Baseline):
    """Attention-based Dropout Layer (Choe and Shim, CVPR 2019). Loss and map are those of CAM.

    Attributes:
        drop_rate: probability with which the most attended part is hidden instead of emphasised.
        threshold: fraction of the largest attention from which on a cell is hidden.

    Raises:
        ValueError: one of them outside of [0, 1].
    """

    name = "adl"
    drop_rate: float = 0.75
    threshold: float = 0.9

    def __post_init__(self) -> None:
        checks.number("drop_rate", self.drop_rate, "[0, 1]")
        checks.number("threshold", self.threshold, "[0, 1]")

    def attention(self, name: str) -> Any:
        return AttentionDropout(self.drop_rate, self.threshold, name=name)
