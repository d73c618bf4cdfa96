"""ICL: attention to the object without its most discriminative part, against the background.

The paper has no public code. What is built here is our reading of it, and results should be named
"ICL (re-implementation)". Ours are: where the thresholds are taken (on the attention
after min-max), averaging a loss over the images that have all regions, equal weights of the losses,
and the zero start of the non-local block, which leaves a pretrained backbone as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from fcam_tf import checks
from fcam_tf.baselines.base import Baseline
from fcam_tf.cams.base import normalize
from fcam_tf.graphs.layers import KeepsDraws
from fcam_tf.graphs.replicas import apart
from fcam_tf.graphs.resize import resize

_MARGIN = 1.0  # of the triplets of unit vectors


@keras.saving.register_keras_serializable("fcam_tf")
class ContrastiveAttention(KeepsDraws, keras.layers.Layer):
    """A non-local block whose attention erases features and contrasts regions while training.

    The block (embedded Gaussian, Wang et al., CVPR 2018) adds to each cell the features of
    similar cells. Attention A: the sigmoid of the mean of the channels. In training the features go
    on multiplied by A or, as drawn for the batch, without the most discriminative part and the
    background; and a triplet loss pulls the object without that part closer to the object than to
    the background.
    ``options`` are the fields of `ICL`; ``embedding`` is the length of a region's vector.

    Input (B, h, w, C); output the features (B, h, w, C) and A (B, h, w).
    """

    def __init__(
        self,
        options: Mapping[str, float],
        embedding: int = 128,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.options = ICL(**options)
        self.seed_generator = keras.random.SeedGenerator(seed, name="draws")
        self.project = keras.layers.Dense(embedding, use_bias=False, name="project")

    def build(self, input_shape: Any) -> None:
        channels = input_shape[-1]
        inner = max(channels // 2, 1)

        def conv(filters: int, name: str, start: str = "glorot_uniform") -> Any:
            layer = keras.layers.Conv2D(
                filters, 1, kernel_initializer=start, dtype=self.dtype_policy, name=name
            )
            layer.trainable = self.trainable
            return layer

        self.query, self.key, self.value = (conv(inner, name) for name in ("query", "key", "value"))
        self.out = conv(channels, "out", start="zeros")
        for layer in (self.query, self.key, self.value):
            layer.build(input_shape)
        self.out.build((*input_shape[:-1], inner))
        self.project.build((input_shape[0], channels))

    def call(self, features: Any, training: bool = False) -> list[Any]:
        features = features + self._non_local(features)
        attention = ops.sigmoid(ops.mean(ops.cast(features, "float32"), axis=-1))
        if not (training and self.trainable):
            return [features, attention]
        scaled = normalize(attention)
        telling, background = scaled > self.options.high, scaled < self.options.low
        triplet = self._triplet(features, scaled, telling, background)
        self.add_loss(self.options.contrast * triplet)
        erased = ops.cast(~(telling | background), "float32")
        drawn = keras.random.uniform((), dtype="float32", seed=apart(self.seed_generator))
        chosen = ops.where(drawn < self.options.drop_rate, erased, attention)
        return [features * ops.cast(chosen[..., None], features.dtype), attention]

    def _non_local(self, features: Any) -> Any:
        batch, height, width, _ = ops.shape(features)
        query, key, value = (
            ops.reshape(layer(features), (batch, height * width, layer.filters))
            for layer in (self.query, self.key, self.value)
        )
        # In float32: these products are not scaled, and float16 ends at 65504.
        query, key = ops.cast(query, "float32"), ops.cast(key, "float32")
        similar = ops.einsum("bqc,bkc->bqk", query, key)
        weights = ops.cast(ops.softmax(similar), value.dtype)
        gathered = ops.einsum("bqk,bkc->bqc", weights, value)
        return self.out(ops.reshape(gathered, (batch, height, width, self.value.filters)))

    def _triplet(self, features: Any, scaled: Any, telling: Any, background: Any) -> Any:
        foreground = scaled > self.options.foreground
        regions = (foreground, foreground & ~telling, background)
        vectors, present = zip(*(self._embed(features, region) for region in regions), strict=True)
        whole, dropped, other = vectors
        near = ops.sum(ops.square(dropped - whole), axis=-1)
        far = ops.sum(ops.square(dropped - other), axis=-1)
        usable = present[0] * present[1] * present[2]
        loss = ops.relu(near - far + _MARGIN) * usable
        return ops.sum(loss) / ops.maximum(ops.sum(usable), 1.0)

    def _embed(self, features: Any, region: Any) -> tuple[Any, Any]:
        """Return the unit vector of the mean over a region, (B, embedding), and if it is there."""
        region = ops.cast(region, "float32")[..., None]
        cells = ops.sum(region, axis=(1, 2))
        mean = ops.sum(ops.cast(features, "float32") * region, axis=(1, 2)) / ops.maximum(
            cells, 1.0
        )
        vector = ops.cast(self.project(mean), "float32")
        norm = ops.sqrt(ops.maximum(ops.sum(ops.square(vector), axis=-1, keepdims=True), 1e-12))
        return vector / norm, ops.cast(cells[:, 0] > 0, "float32")


@keras.saving.register_keras_serializable("fcam_tf")
class ConsistentAttention(keras.layers.Layer):
    """Pass the top map on, and in training pull earlier attention towards the last one.

    Loss: ``weight`` times the mean squared difference of each attention and the last one, which is
    scaled to it and gets no gradient.

    Input: the top map (B, h, w, C), then attentions (B, h', w'), the earliest first.
    """

    def __init__(self, weight: float, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # attentions stay float32 beside a float16 map
        self.weight = weight

    def call(self, inputs: Sequence[Any], training: bool = False) -> Any:
        top, *early, last = inputs
        if training and self.trainable:
            reference = ops.stop_gradient(last)[..., None]
            for attention in early:
                wanted = resize(reference, ops.shape(attention)[1:3])[..., 0]
                self.add_loss(self.weight * ops.mean(ops.square(attention - wanted)))
        return top


@dataclasses.dataclass(frozen=True)
class ICL(Baseline):
    """In-sample Contrastive Learning (Ki et al., ACCV 2020), re-implemented: see the module.

    Loss: cross-entropy, the triplets of each attention, and the consistency of the attentions.
    Map: that of CAM.

    Attributes:
        drop_rate: probability with which features are erased instead of weighted.
        high: attention in [0, 1], after min-max, from which on a cell is most discriminative.
        foreground: from here on it is object,
        low: and below here background.
        contrast: weight of the triplet losses.
        consistency: weight of the consistency loss.

    Raises:
        ValueError: a fraction outside of [0, 1], a negative weight, or ``low``, ``foreground`` and
            ``high`` that do not rise.
    """

    name = "icl"
    drop_rate: float = 0.5
    high: float = 0.9
    foreground: float = 0.5
    low: float = 0.2
    contrast: float = 1.0
    consistency: float = 1.0

    def __post_init__(self) -> None:
        for name in ("drop_rate", "high", "foreground", "low"):
            checks.number(name, getattr(self, name), "[0, 1]")
        checks.rising(low=self.low, foreground=self.foreground, high=self.high)
        for name in ("contrast", "consistency"):
            checks.number(name, getattr(self, name), "[0, inf)")

    def attention(self, name: str) -> Any:
        return ContrastiveAttention(dataclasses.asdict(self), name=name)

    def top(self, top: Any, attentions: Sequence[Any]) -> Any:
        layer = ConsistentAttention(self.consistency, name="attention_consistency")
        return layer([top, *attentions])
