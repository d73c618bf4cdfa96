"""SPG: branches on earlier maps learn what the class map is confident of, and pass it on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from fcam_tf import checks
from fcam_tf.baselines.base import Baseline
from fcam_tf.baselines.branch import Branch
from fcam_tf.cams.base import normalize
from fcam_tf.cams.class_map import ClassMapHead, HeadClassMap, of_class
from fcam_tf.graphs.replicas import sum_over_replicas
from fcam_tf.graphs.resize import resize


def confident(maps: Any, high: float, low: float, fewest: int = 30) -> tuple[Any, Any]:
    """Return targets, 1 object and 0 background, and which are known (SPG, section 3.2).

    ``maps`` (B, h, w) in [0, 1] are object above ``high``, background below ``low``, whatever
    ``high`` says, and unknown in between; both results are float32 of their shape.
    """
    space = (1, 2)
    sure = maps > high
    # Where fewer than ``fewest`` pixels of an image are object, those above 0.7 of its peak are.
    few = ops.sum(ops.cast(sure, "int32"), space, keepdims=True) < fewest
    sure = ops.where(few, maps > 0.7 * ops.max(maps, space, keepdims=True), sure)
    background = maps < low
    known = ops.logical_or(sure, background)
    targets = ops.logical_and(sure, ops.logical_not(background))
    return ops.cast(targets, "float32"), ops.cast(known, "float32")


@keras.saving.register_keras_serializable("fcam_tf")
class SelfProducedGuidance(ClassMapHead):
    """One convolution to class maps, and three branches that are only used in training.

    Called on the maps of the branches B1 and B2, then the top map. The class map guides B2, B2
    guides B1, and their mean guides C, which sits on the top map. B1 and B2 share their last
    convolutions. ``bounds`` holds (high, low) of the guides "class", "side" and "fused", see `SPG`.
    """

    size: ClassVar[int] = 224  # all are compared at this many pixels a side

    def __init__(
        self,
        *,
        num_classes: int,
        side_filters: int,
        top_filters: int,
        bounds: Mapping[str, Sequence[float]],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.side_filters = side_filters
        self.bounds = dict(bounds)
        policy = self.dtype_policy
        self.classes = keras.layers.Conv2D(num_classes, 1, dtype=policy, name="classes")
        self.b1 = Branch([(side_filters, 3)], last_relu=True, dtype=policy, name="b1")
        self.b2 = Branch([(side_filters, 3)], last_relu=True, dtype=policy, name="b2")
        self.shared = Branch([(side_filters, 3), (1, 1)], dtype=policy, name="shared")
        self.c = Branch([(top_filters, 3), (1, 1)], dtype=policy, name="c")

    def build(self, input_shape: Sequence[Any]) -> None:
        first, second, top = input_shape
        self.b1.build(first)
        self.b2.build(second)
        self.shared.build((*first[:3], self.side_filters))
        self.c.build(top)
        self.classes.build(top)

    def call(self, maps: Sequence[Any]) -> list[Any]:
        first, second, top = maps
        scores = ops.cast(self.classes(top), "float32")
        branches = (self.shared(self.b1(first)), self.shared(self.b2(second)), self.c(top))
        sides = [ops.cast(x, "float32")[..., 0] for x in branches]
        return [ops.mean(scores, axis=(1, 2)), scores, *sides]

    def class_map(self, top: Any, labels: Any) -> Any:
        return of_class(self.classes(top), labels)

    def losses_of(self, maps: Sequence[Any], outputs: Sequence[Any], labels: Any) -> Any:  # noqa: ARG002
        scores, *sides = outputs
        attention = normalize(of_class(scores, labels))
        attention, b1, b2, c = (
            resize(x[..., None], (self.size, self.size))[..., 0] for x in (attention, *sides)
        )
        guides = {
            "class": (b2, attention),
            "side": (b1, ops.sigmoid(b2)),
            "fused": (c, (ops.sigmoid(b1) + ops.sigmoid(b2)) / 2),
        }
        return sum(guided(*pair, *self.bounds[name]) for name, pair in guides.items())


def guided(scores: Any, guide: Any, high: float, low: float) -> Any:
    """Return the binary cross-entropy of logits (B, h, w) against what a guide is confident of.

    The guide (B, h, w) in [0, 1] gets no gradient. Result: (B,), whose mean is the mean over all
    known pixels of the batch, see `confident`; 0 where none is known.
    """
    targets, known = confident(ops.stop_gradient(guide), high, low)
    entropy = ops.binary_crossentropy(targets, scores, from_logits=True)
    images = sum_over_replicas(ops.cast(ops.shape(scores)[0], "float32"))
    pixels = sum_over_replicas(ops.sum(known))
    return images * ops.sum(entropy * known, (1, 2)) / ops.maximum(pixels, 1.0)


@dataclasses.dataclass(frozen=True)
class SPG(Baseline):
    """Self-produced Guidance (Zhang et al., ECCV 2018).

    Loss: cross-entropy, and that of each branch against its guide. Map: that of the class.

    Attributes:
        class_high: from here on the class map guides B2 to object,
        class_low: and below here to background.
        side_high: the same of B2 for B1.
        side_low: see above.
        fused_high: the same of the mean of B1 and B2 for C.
        fused_low: see above.

    Raises:
        ValueError: one of them outside of [0, 1], or a low one above its high one.
    """

    name = "spg"
    cam = HeadClassMap
    class_high: float = 0.7
    class_low: float = 0.01
    side_high: float = 0.5
    side_low: float = 0.05
    fused_high: float = 0.7
    fused_low: float = 0.1

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            checks.number(name, value, "[0, 1]")
        checks.rising(class_low=self.class_low, class_high=self.class_high)
        checks.rising(side_low=self.side_low, side_high=self.side_high)
        checks.rising(fused_low=self.fused_low, fused_high=self.fused_high)

    def head(self, num_classes: int, filters: Mapping[str, int], name: str) -> ClassMapHead:
        return SelfProducedGuidance(
            num_classes=num_classes,
            side_filters=filters["spg_side"],
            top_filters=filters["spg_top"],
            bounds={
                "class": (self.class_high, self.class_low),
                "side": (self.side_high, self.side_low),
                "fused": (self.fused_high, self.fused_low),
            },
            name=name,
        )
