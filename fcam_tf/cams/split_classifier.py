"""Cutting a classifier in two: the feature maps that a CAM weights, and the head after them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from fcam_tf.cams import autodiff, tokens
from fcam_tf.cams.choosing import Choice
from fcam_tf.cams.ending import Ending, ending_of, without_probabilities
from fcam_tf.cams.interface import Interface, Options
from fcam_tf.cams.moving import moving_layers
from fcam_tf.graphs import graph
from fcam_tf.graphs.opening import Opened

L = keras.layers

_flat = keras.tree.flatten  # a model built with a list of one output gives that output alone


def chosen_classes(labels: Any, logits: Any) -> Any:
    """Return the labels (B,) int32, where the predicted class replaces negative ones."""
    # Not `argmax`: Keras looks for negative zeros in it, by an operation that LiteRT does not have.
    predicted = ops.cast(ops.top_k(logits, 1)[1][:, 0], "int32")
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
        model: see `fcam_tf.cams.CAM`, as for what follows.
        feature_maps: where to cut: layer names, layers, or levels ("P4") of this package's models.
            If empty, the last map before the head.
        options: the rest.

    Attributes:
        model: the flat graph that is cut.
        layers: names of the maps where it is cut: levels of this package's models, else layers.
        grids: (height, width) of each that consists of tokens, None for each that is a map.
        is_linear: whether the head is global average pooling and one dense layer.
        num_classes: number of classes; 2 if the model has one output, 1 for a score.
        activation: "softmax" or "sigmoid", which turns logits into probabilities.
        head: what computes the logits: the last dense layer or, if there is none, the last
            operation before any softmax.
        scored: what `logits_of` takes, symbolic.
        others: the inputs beside the images, see `given`.
        images: the symbolic images; the ``inputs`` are these and whatever else the model takes.

    Raises:
        TypeError: ``model`` has no functional graph.
        ValueError: a feature map is unknown or not a map, the model's output is not one row of
            class scores and there is no ``score``, or one of several inputs or outputs must be
            named.
    """

    def __init__(
        self,
        model: keras.Model,
        feature_maps: Sequence[Any] = (),
        options: Options = Options(),  # noqa: B008 - frozen
    ) -> None:
        opened = Opened(model)
        self.model = flat = opened.model
        self._steps = graph.steps(flat)
        self._maker = graph.makers(self._steps)
        self.inputs = flat.inputs
        self._interface = Interface(model, flat, options)
        self.images = self._interface.images
        self.separate = self._interface.separate
        self.score = options.score
        self._refuse_channels_first()
        outputs = self._interface.outputs
        if self.score is None:
            loss = getattr(model, "loss", None)
            self._ending = ending_of(keras.Model(flat.inputs, outputs[0]), loss)
            self.scored = [self._ending.scores]
        else:
            self.scored = [without_probabilities(self._maker, x) for x in outputs]
            self._ending = Ending.of_score(self.scored)
        if any(id(x) not in self._maker for x in self.scored):
            # What is made here of an output is no step of the model's graph.
            self._maker = graph.makers(graph.steps(keras.Model(flat.inputs, self.scored)))
        self.num_classes = self._ending.num_classes
        self.activation = self._ending.activation
        named = getattr(model, "feature_maps", {})
        self._choice = Choice(
            opened,
            self._maker,
            self.images,
            scored=self.scored,
            levels=named,
            grid=options.grid,
        )
        found = [self._choice.find(feature_map) for feature_map in feature_maps]
        top = found or [*named.values()][-1:] or [self._choice.last_map()]
        self.feature_maps = self._choice.in_order(top)
        self.layers = tuple(map(self._choice.name, self.feature_maps))
        self._refuse_moved_images()
        self.grids = [self._choice.grid(x) for x in self.feature_maps]
        if options.grid and not any(self.grids):
            raise ValueError(
                f"`grid` must be left out: {self.layers[0]!r} gives a map, and only tokens need a "
                f"grid. Received: {options.grid!r}."
            )
        self.head = self._ending.dense or self._maker[id(self.scored[0])].operation
        self.is_linear = self._only_pooled(self.scored[0])
        self.others: tuple[Any, ...] = ()

        first, *later = self.feature_maps
        # Only what follows the first map is differentiated, unless something leads around it.
        if self._choice.all_pass(first, [*later, *self.scored], self.inputs):
            self._features = keras.Model(self.inputs, first)
            self._rest = keras.Model(first, [*later, *self.scored])
        else:
            self._features = None
            self._rest = keras.Model(self.inputs, [*self.feature_maps, *self.scored])

    @contextlib.contextmanager
    def given(self, others: tuple[Any, ...]) -> Iterator[None]:
        """Let ``others`` be the inputs beside the images while maps are computed."""
        before, self.others = self.others, others
        try:
            yield
        finally:
            self.others = before

    def _feed(self, images: Any) -> list[Any]:
        others = iter(self.others)
        return [images if x is self.images else next(others) for x in self.inputs]

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
            self.as_maps(maps),
            [g / scale for g in self.as_maps(gradients)],
            logits,
            chosen,
        )

    def linear_evidence(self, activations: Any, labels: Any, logits: Any = None) -> Evidence:
        """Return the evidence in closed form, for a head of pooling and one dense layer.

        Arguments are those of `CAM.from_features`; logits that are None are computed.
        """
        if not self.is_linear:
            raise ValueError(
                "the feature map alone gives no evidence: the model does not end in global average "
                "pooling and one dense layer on it."
            )
        activations = ops.cast(activations, "float32")
        if logits is None:
            _, logits = self._run(tokens.to_tokens(activations, self.grids[0]))
        labels = chosen_classes(labels, logits)
        weights = ops.take(self._ending.kernel(), labels, axis=1)  # (C, B)
        cells = ops.cast(ops.prod(ops.shape(activations)[1:3]), "float32")
        gradients = ops.transpose(weights)[:, None, None, :] / cells
        return Evidence([activations], [gradients], logits, labels)

    def linear_maps(self, activations: Any, weights: Any) -> Any:
        """Return mixtures of the maps of all classes, (N, h, w), under such a head.

        ``activations`` are (N, h, w, C), ``weights`` (N, classes) the part of each class.
        """
        channels = ops.matmul(weights, ops.transpose(self._ending.kernel()))
        return ops.einsum("nhwc,nc->nhw", activations, channels)

    def refuse_cancelling_products(self, method: str) -> None:
        """Raise a ValueError if gradients times tokens add up to zero for every image."""
        first = self.feature_maps[0]
        if not self.is_linear and self._choice.products_cancel(first):
            raise ValueError(
                f"{method!r} says nothing at `layer` {self.layers[0]!r}: what follows normalises "
                "each token, so that its products with the gradient add up to zero. Name a layer "
                "behind that normalisation, or choose another method, such as 'gradcam'."
            )

    def activations(self, images: Any) -> Any:
        """Return the first feature map, (B, h, w, C) float32."""
        first = self._features or self._rest
        return self.as_maps(_flat(first(self._feed(images), training=False))[:1])[0]

    def maps_and_logits(self, images: Any) -> tuple[list[Any], Any]:
        """Return the feature maps, each (B, h, w, C) or tokens, and the logits (B, classes)."""
        return self._run(self._first(images))

    def _first(self, images: Any) -> Any:
        """Return what `_run` starts from: the first feature map where everything passes it."""
        return self._features(self._feed(images), training=False) if self._features else images

    def _run(self, start: Any) -> tuple[list[Any], Any]:
        values = _flat(self._rest(start if self._features else self._feed(start), training=False))
        number = len(self.scored)
        maps, scored = values[:-number], values[-number:]
        return [start, *maps] if self._features else maps, self.logits_of(scored)

    def as_maps(self, values: Sequence[Any]) -> list[Any]:
        """Return feature maps as (B, h, w, C) float32, also if they are tokens."""
        pairs = zip(values, self.grids, strict=False)
        return [ops.cast(tokens.to_map(x, grid), "float32") for x, grid in pairs]

    def logits(self, images: Any) -> Any:
        """Return the logits (B, classes) float32."""
        return self.maps_and_logits(images)[1]

    def logits_without(self, images: Any, first: Any, kept: Any) -> Any:
        """Return the logits (B, classes) with the channels of the first map times ``kept``, (B, C).

        ``first`` is that map as `maps_and_logits` gives it. Class tokens stay as they are.
        """
        kept = ops.cast(kept, first.dtype)[:, None]
        if self.grids[0]:
            extra = ops.shape(first)[1] - math.prod(self.grids[0])
            changed = ops.concatenate([first[:, :extra], first[:, extra:] * kept], axis=1)
        else:
            changed = first * kept[:, None]
        start = changed if self._features else [*self._feed(images), changed]
        return self.logits_of(_flat(self._behind(start, training=False))[-len(self.scored) :])

    @functools.cached_property
    def _behind(self) -> keras.Model:
        """What follows the first map; it takes the inputs, too, where something leads around it."""
        if self._features:
            return self._rest
        return keras.Model([*self.inputs, self.feature_maps[0]], self.scored)

    def logits_of(self, scored: Sequence[Any]) -> Any:
        """Return the logits (B, classes) float32 of what is before the last dense layer."""
        if self.score is not None:
            return self._interface.scores(self.score, list(scored))
        values, dense = ops.cast(scored[0], "float32"), self._ending.dense
        if dense is not None:
            values = ops.matmul(values, ops.cast(dense.kernel, "float32"))
            values = values if dense.bias is None else values + ops.cast(dense.bias, "float32")
        return self._ending.logits(values)

    def _refuse_channels_first(self) -> None:
        for step in self._steps:
            if getattr(step.operation, "data_format", None) == "channels_first":
                raise ValueError(
                    "`model` must have its channels last. Received a model whose layer "
                    f"{step.operation.name!r} has data_format='channels_first'."
                )
        shape = tuple(self.images.shape)[1:]
        few = range(1, 5)  # channels, not a side
        if len(shape) == 3 and shape[0] in few and not any(n in few for n in shape[1:]):
            raise ValueError(
                "`model` must have its channels last. Received a model that takes images "
                f"{shape}. Put a layer Permute((3, 1, 2)) between images with channels last and it."
            )

    def _refuse_moved_images(self) -> None:
        if moving := moving_layers(self.model, self._maker, self.images, self.feature_maps[0]):
            raise ValueError(
                "`model` must look at the whole images as they are: its map would lie elsewhere on "
                f"them. Received a model that crops, pads, mirrors or turns them by {moving}. "
                "Explain a model without these layers, and prepare the images by them before."
            )

    def _only_pooled(self, before_logits: Any) -> bool:
        """Tell whether global average pooling alone stands between feature map and dense layer."""
        if self._ending.dense is None or len(self.feature_maps) > 1:
            return False
        (top,), (grid,) = self.feature_maps, self.grids
        if grid and math.prod(grid) != self._choice.count(top):  # a class token is pooled, too
            return False
        x = before_logits
        pooled = False
        while x is not top:
            step = self._maker.get(id(x))
            if step is None or len(step.inputs) != 1:
                return False
            pooling = _averages(step)
            if not pooling and not isinstance(step.operation, (L.Dropout, L.Flatten)):
                return False
            if isinstance(step.operation, L.Flatten) and tuple(step.inputs[0].shape)[1:3] != (1, 1):
                return False
            pooled = pooled or pooling
            x = step.inputs[0]
        return pooled


def _averages(step: graph.Step) -> bool:
    """Tell whether a step takes the mean of a map or of tokens."""
    operation = step.operation
    if type(operation).__name__ == "Mean" and type(operation).__module__.startswith("keras."):
        axes = operation.axis if isinstance(operation.axis, (list, tuple)) else [operation.axis]
        rank = len(step.inputs[0].shape)
        return {n % rank for n in axes if n is not None} == set(range(1, rank - 1))
    return isinstance(operation, (L.GlobalAveragePooling1D, L.GlobalAveragePooling2D))
