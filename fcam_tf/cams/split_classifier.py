"""Cutting a classifier in two: the feature maps that a CAM weights, and the head behind them."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from fcam_tf.cams import autodiff
from fcam_tf.cams.ending import ending_of
from fcam_tf.graphs import graph

L = keras.layers
_GLOBAL_POOLING = (L.GlobalAveragePooling2D, L.GlobalMaxPooling2D)
_SIDES = (256, 192)  # of an image of any size, to see how a map shrinks

_flat = keras.tree.flatten  # a model built with a list of one output gives that output alone


def chosen_classes(labels: Any, logits: Any) -> Any:
    """Return the labels (B,) int32 with the predicted class in the place of negative ones."""
    predicted = ops.cast(ops.argmax(logits, axis=-1), "int32")
    return ops.where(labels < 0, predicted, labels)


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What a CAM is made of."""

    activations: list[Any]  # the feature maps, each (B, h, w, C) float32
    # Of the label's logit by each map, (B, h, w, C) float32; (B, 1, 1, C) where all cells agree.
    gradients: list[Any]
    logits: Any  # (B, classes) float32, see `fcam_tf.cams.ending.Ending`
    labels: Any  # (B,) int32, the classes that were explained


class SplitClassifier:
    """A classifier cut at one or more of its feature maps.

    Args:
        model: see `fcam_tf.cams.CAM`.
        feature_maps: what to cut at: layer names, layers, or levels ("P4") of our own models.
            Empty for the last map before the head.

    Attributes:
        layers: names of what it is cut at: levels of our own models, else layers.
        is_linear: whether the head is global average pooling and one dense layer.
        num_classes: number of classes; 2 where the model has one output.
        activation: "softmax" or "sigmoid", what makes probabilities of the logits.
        head: what gives the logits: the last dense layer, or where there is none the last operation
            before any softmax.
        before_logits: what `logits_of` takes, symbolic.

    Raises:
        TypeError: ``model`` has no functional graph.
        ValueError: a feature map is unknown or not a map, the model's output is not one row of
            class scores, or it has several inputs.
    """

    def __init__(self, model: keras.Model, feature_maps: Sequence[Any] = ()) -> None:
        flat = graph.flatten(model)
        if len(flat.inputs) != 1:
            raise ValueError(
                "`model` must take one tensor of images. Received inputs of shapes "
                f"{[tuple(x.shape) for x in flat.inputs]}."
            )
        if len(flat.outputs) != 1 or len(flat.outputs[0].shape) != 2:
            raise ValueError(
                "`model` must give one tensor (batch, classes). Received outputs of shapes "
                f"{[tuple(x.shape) for x in flat.outputs]}. Choose one with "
                "keras.Model(model.inputs, output)."
            )
        self._steps = graph.steps(flat)
        self._maker = graph.makers(self._steps)
        self.inputs = flat.inputs
        self._refuse_channels_first()
        self._ending = ending_of(flat, getattr(model, "loss", None))
        self.num_classes = self._ending.num_classes
        self.activation = self._ending.activation
        before_logits = self._ending.scores
        named = getattr(model, "feature_maps", {})
        found = [self._find(feature_map, named) for feature_map in feature_maps]
        top = found or [*named.values()][-1:] or [self._last_map(before_logits)]
        self.feature_maps = self._in_order(top)
        levels = {id(x): level for level, x in named.items()}
        self.layers = tuple(
            levels.get(id(x), self._maker[id(x)].operation.name) for x in self.feature_maps
        )
        dense = self._ending.dense
        self.head = dense or self._maker[id(before_logits)].operation
        self.is_linear = dense is not None and self._only_pooled(before_logits)
        self.before_logits = before_logits
        images = flat.inputs[0]
        first, *later = self.feature_maps
        # Only what follows the first map is differentiated, unless something leads around it.
        if self._all_pass(first, [*later, before_logits]):
            self._features = keras.Model(images, first)
            self._rest = keras.Model(first, [*later, before_logits])
        else:
            self._features = None
            self._rest = keras.Model(images, [*self.feature_maps, before_logits])

    def __call__(self, images: Any, labels: Any) -> Evidence:
        """Run the model once and differentiate by the feature maps; see `CAM.raw_maps`."""
        if self.is_linear:
            return self.linear_evidence(self.activations(images), labels)

        start = self._first(images)

        def score() -> tuple[list[Any], Any, Any]:
            maps, logits = self._run(start)
            chosen = chosen_classes(labels, logits)
            # Scaled by the number of cells: a float16 gradient would vanish in the mean.
            scale = ops.cast(ops.prod(ops.shape(maps[-1])[1:3]), "float32")
            picked = ops.take_along_axis(logits, chosen[:, None], axis=1)[:, 0]
            return maps, self._ending.gain * picked * scale, (logits, chosen, scale)

        maps, gradients, (logits, chosen, scale) = autodiff.gradients(score, start)
        return Evidence(
            [ops.cast(a, "float32") for a in maps],
            [ops.cast(g, "float32") / scale for g in gradients],
            logits,
            chosen,
        )

    def linear_evidence(self, activations: Any, labels: Any, logits: Any = None) -> Evidence:
        """Return the evidence in closed form, under a head of pooling and one dense layer.

        Arguments are those of `CAM.from_features`; logits that are None are computed.
        """
        if not self.is_linear:
            raise ValueError(
                "the feature map alone gives no evidence: the model does not end in global average "
                "pooling and one dense layer on it."
            )
        activations = ops.cast(activations, "float32")
        if logits is None:
            _, logits = self._run(activations)
        labels = chosen_classes(labels, logits)
        weights = ops.take(self._ending.kernel(), labels, axis=1)  # (C, B)
        cells = ops.cast(ops.prod(ops.shape(activations)[1:3]), "float32")
        gradients = ops.transpose(weights)[:, None, None, :] / cells
        return Evidence([activations], [gradients], logits, labels)

    def maps_and_logits(self, images: Any) -> tuple[list[Any], Any]:
        """Return the feature maps, each (B, h, w, C), and the logits (B, classes) float32."""
        return self._run(self._first(images))

    def activations(self, images: Any) -> Any:
        """Return the first feature map, (B, h, w, C) float32."""
        first = self._features or self._rest
        return ops.cast(_flat(first(images, training=False))[0], "float32")

    def logits(self, images: Any) -> Any:
        """Return the logits (B, classes) float32."""
        return self.maps_and_logits(images)[1]

    def logits_with(self, images: Any, activations: Any) -> Any:
        """Return the logits (B, classes) with ``activations`` in the place of the first map."""
        start = activations if self._features else [images, activations]
        return self.logits_of(_flat(self._behind(start, training=False))[-1])

    @functools.cached_property
    def _behind(self) -> keras.Model:
        """What follows the first map; it takes the images, too, where something leads around it."""
        if self._features:
            return self._rest
        return keras.Model([self.inputs[0], self.feature_maps[0]], self.before_logits)

    def _first(self, images: Any) -> Any:
        """Return what `_run` starts from: the first feature map where everything passes it."""
        return self._features(images, training=False) if self._features else images

    def _run(self, start: Any) -> tuple[list[Any], Any]:
        *maps, before = _flat(self._rest(start, training=False))
        return [start, *maps] if self._features else maps, self.logits_of(before)

    def logits_of(self, before: Any) -> Any:
        """Return the logits (B, classes) float32 of what is before the last dense layer."""
        scores, dense = ops.cast(before, "float32"), self._ending.dense
        if dense is not None:
            scores = ops.matmul(scores, ops.cast(dense.kernel, "float32"))
            scores = scores if dense.bias is None else scores + ops.cast(dense.bias, "float32")
        return self._ending.logits(scores)

    def _all_pass(self, feature_map: Any, tensors: list[Any]) -> bool:
        """Tell whether every path from the images to ``tensors`` leads through ``feature_map``."""
        waiting, seen = list(tensors), {id(feature_map)}
        while waiting:
            tensor = waiting.pop()
            if id(tensor) in seen:
                continue
            seen.add(id(tensor))
            if id(tensor) not in self._maker:
                return False
            waiting.extend(self._maker[id(tensor)].inputs)
        return True

    def _in_order(self, feature_maps: list[Any]) -> list[Any]:
        """Sort by the order in which they are computed, and drop what was named twice."""
        position = {id(x): i for i, step in enumerate(self._steps) for x in step.outputs}
        unique = {id(x): x for x in feature_maps}.values()
        return sorted(unique, key=lambda x: position[id(x)])

    def _find(self, feature_map: Any, levels: Mapping[str, Any]) -> Any:
        if isinstance(feature_map, str) and feature_map in levels:
            return levels[feature_map]
        name = getattr(feature_map, "name", feature_map)
        for step in self._steps:
            if step.operation.name == name:
                if len(step.outputs[0].shape) != 4:
                    raise ValueError(
                        f"`layer` must name a map (batch, height, width, channels). {name!r} gives "
                        f"{tuple(step.outputs[0].shape)}."
                    )
                return step.outputs[0]
        maps = [s.operation.name for s in self._steps if len(s.outputs[0].shape) == 4]
        raise ValueError(
            f"`layer` is not in the model: {name!r}. The last of its maps are "
            f"{', '.join([*levels, *maps[-8:]])}."
        )

    def _last_map(self, before_logits: Any) -> Any:
        """Return the last map that everything passes on its way to the scores."""
        head = self._maker.get(id(before_logits))  # none where a dense layer takes the images
        if head and hasattr(head.operation, "class_map"):  # see `class_map.ClassMapHead`
            return head.inputs[-1]
        maps = [
            step.outputs[0]
            for step in self._steps
            if len(step.outputs[0].shape) == 4
            and tuple(step.outputs[0].shape)[1:3] != (1, 1)
            and not isinstance(step.operation, _GLOBAL_POOLING)
        ]
        for x in reversed(maps):
            if self._all_pass(x, [before_logits]) and self._looks_like_the_image(x):
                return x
        if not maps:
            raise ValueError(
                "`model` has no map (batch, height, width, channels) to explain. Class activation "
                "maps need a convolutional classifier."
            )
        names = [self._maker[id(x)].operation.name for x in maps[-8:]]
        raise ValueError(
            "`layer` must be given: the model has no map of the image that everything passes on "
            f"its way to the scores. The last of its maps are {', '.join(names)}."
        )

    def _looks_like_the_image(self, feature_map: Any) -> bool:
        """Tell whether height and width shrank alike; heads of attention and tokens do not."""
        (images,) = self.inputs
        sides = images.shape[1] or _SIDES[0], images.shape[2] or _SIDES[1]
        height, width = feature_map.shape[1:3]
        if None in (height, width):
            example = keras.KerasTensor((1, *sides, images.shape[3]), images.dtype)
            try:
                spec = keras.Model(images, feature_map).compute_output_spec(example)
            except (TypeError, ValueError):  # takes other sizes, which nobody can know
                return True
            height, width = spec.shape[1:3]
        shrunk = math.log2(sides[0] / height), math.log2(sides[1] / width)
        return min(shrunk) > -0.5 and abs(shrunk[0] - shrunk[1]) < 1

    def _refuse_channels_first(self) -> None:
        for step in self._steps:
            if getattr(step.operation, "data_format", None) == "channels_first":
                raise ValueError(
                    "`model` must have its channels last. Received a model whose layer "
                    f"{step.operation.name!r} has data_format='channels_first'."
                )

    def _only_pooled(self, before_logits: Any) -> bool:
        """Tell whether global average pooling alone stands between feature map and dense layer."""
        if len(self.feature_maps) > 1:
            return False
        x = before_logits
        pooled = False
        while x is not self.feature_maps[0]:
            step = self._maker.get(id(x))
            if step is None or len(step.inputs) != 1:
                return False
            pooling = isinstance(step.operation, L.GlobalAveragePooling2D)
            if not pooling and not isinstance(step.operation, (L.Dropout, L.Flatten)):
                return False
            if isinstance(step.operation, L.Flatten) and tuple(step.inputs[0].shape)[1:3] != (1, 1):
                return False
            pooled = pooled or pooling
            x = step.inputs[0]
        return pooled
