"""ACoL: two heads; the second one sees the features without what the first one relies on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from fcam_tf import checks
from fcam_tf.baselines.base import Baseline
from fcam_tf.baselines.branch import Branch
from fcam_tf.cams.base import normalize
from fcam_tf.cams.class_map import ClassMapHead, HeadClassMap, of_class


@keras.saving.register_keras_serializable("fcam_tf")
class AdversarialHead(ClassMapHead):
    """Two branches of three convolutions that end in one map for each class.

    The logits are those of the first branch: the means of its maps. Its map of the true class
    erases features, from ``threshold`` on after min-max, before the second branch sees them.
    """

    def __init__(self, num_classes: int, filters: int, threshold: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.threshold = threshold
        sizes = ((filters, 3), (filters, 3), (num_classes, 1))
        self.first = Branch(sizes, dtype=self.dtype_policy, name="first")
        self.second = Branch(sizes, dtype=self.dtype_policy, name="second")

    def build(self, input_shape: Sequence[Any]) -> None:
        self.first.build(input_shape[-1])
        self.second.build(input_shape[-1])

    def call(self, maps: Sequence[Any]) -> list[Any]:
        scores = ops.cast(self.first(maps[-1]), "float32")
        return [ops.mean(scores, axis=(1, 2)), scores]

    def class_map(self, top: Any, labels: Any) -> Any:
        """Return the larger of both branches' maps, each after min-max."""
        scores = ops.cast(self.first(top), "float32")
        attention = normalize(of_class(scores, labels))
        second = self._second(top, attention)
        return ops.maximum(attention, normalize(of_class(second, labels)))

    def losses_of(self, maps: Sequence[Any], outputs: Sequence[Any], labels: Any) -> Any:
        attention = ops.stop_gradient(normalize(of_class(outputs[0], labels)))
        logits = ops.mean(self._second(maps[-1], attention), axis=(1, 2))
        return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)

    def _second(self, top: Any, attention: Any) -> Any:
        kept = ops.cast(attention < self.threshold, top.dtype)
        return ops.cast(self.second(top * kept[..., None]), "float32")


@dataclasses.dataclass(frozen=True)
class ACoL(Baseline):
    """Adversarial Complementary Learning (Zhang et al., CVPR 2018).

    Loss: the cross-entropies of both branches. Map: the larger of theirs. Prediction: the first's.

    Attributes:
        threshold: what the second branch does not see, of the first one's map in [0, 1].
        filters: channels of the branches; 0 takes what suits the backbone (the paper's: 1024).

    Raises:
        ValueError: ``threshold`` outside of [0, 1] or negative ``filters``.
    """

    name = "acol"
    cam = HeadClassMap
    threshold: float = 0.7
    filters: int = 0

    def __post_init__(self) -> None:
        checks.number("threshold", self.threshold, "[0, 1]")
        checks.whole("filters", self.filters, 0)

    def head(self, num_classes: int, filters: Mapping[str, int], name: str) -> ClassMapHead:
        return AdversarialHead(
            num_classes, self.filters or filters["acol"], self.threshold, name=name
        )
