"""A kind of model, and what the tables of `kinds` are made of."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import keras_cv
import numpy as np
from keras import layers as L  # noqa: N812 - as in the package

from tests.cams import networks
from tests.cams.networks import SQUARE, pooled, scores, trunk
from tests.cams.networks import plain as of

NEEDS_POOLING = "`cam` needs a model that ends in global average pooling and one dense layer"
OTHER_BIAS = "'fullgrad' does not know the bias of the layer"
MORE_INPUTS = "'fullgrad' needs a model of images alone"
CANCELS = "says nothing at `layer`.*normalises each token"
NO_LAYER = "`layer` must be left out: 'fullgrad' takes all layers"


@dataclasses.dataclass
class Kind:
    """A model, what `cams.get` is told, and what a tape needs to know to expect the same."""

    make: Callable[[], keras.Model]
    # The layer whose output is weighted, by its name or found in the model.
    tap: str | Callable[[keras.Model], Any] | None = None
    # From the scores, or from the outputs where no layer has that name, to logits (B, classes).
    logits: Callable[[Any], Any] = lambda outputs: outputs
    head: str = "scores"  # gives the logits, without its activation
    ending: str = "softmax"  # what makes probabilities of the logits, or "score"
    grid: tuple[int, int] | None = None  # of tokens
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    shapes: tuple[tuple[int, ...], ...] = (SQUARE,)
    finish: Callable[[keras.Model], Any] | None = None  # once the weights are drawn
    twin: Callable[[], keras.Model] | None = None  # the same in float32, which the tape runs on
    close: float = 1e-4  # how far maps in [0, 1] may be from those of the tape
    linear: bool = False  # the head is pooling and one dense layer
    exact: bool = False  # the terms of FullGrad add up to the logit
    fullgrad: str = ""  # why that method refuses
    normalised: bool = False  # each token by itself, right behind the map
    refused: str = ""  # why all do
    slow: bool = False

    def refusal(self, method):
        """Return what a method says that does not explain this kind, "" of others."""
        if method == "cam" and not self.linear:
            return NEEDS_POOLING
        if method in ("hirescam", "eigengradcam") and self.normalised:
            return CANCELS
        return self.fullgrad if method == "fullgrad" else ""


def head(make, **options):
    """Return a kind of a head on the pooled map of a small network."""
    return Kind(lambda: of(lambda x: make(pooled(trunk(x)))), "top", **options)


def linear(make, tap="top", **options):
    """Return a kind that ends in pooling and a dense layer on the map that is built."""
    options = {"exact": True, "linear": True} | options
    return Kind(lambda: of(lambda x: scores(pooled(make(x)))), tap, **options)


def mixed(policy, outputs, **options):
    """Return a kind under a policy of mixed precision."""
    return Kind(lambda: networks.under(policy, outputs), "top", twin=lambda: of(outputs), **options)


def quantized(mode, outputs, **options):
    """Return a kind whose dense layers are quantised once the weights are there."""
    return Kind(lambda: of(outputs), "top", finish=lambda model: model.quantize(mode), **options)


def quantized_lora(model):
    model.quantize("int8")
    layer = model.get_layer("scores")
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.random.default_rng(4).normal(size=(2, 3)))


def classifier_of_keras_cv():
    backbone = keras_cv.models.ResNetBackbone(
        stackwise_filters=[4], stackwise_blocks=[1], stackwise_strides=[1],
        include_rescaling=True, input_shape=SQUARE,
    )  # fmt: skip
    return keras_cv.models.ImageClassifier(backbone, 3)


def to_dense(x, **options):
    return scores(L.Dense(5, "relu")(pooled(trunk(x))), **options)


def named(name):
    return lambda model: next(x for x in model._flatten_layers() if x.name == name)


def score(function, **options):
    """Return a kind's arguments for one that is explained by a function of its outputs."""
    return {"logits": lambda outputs: function(outputs)[:, None], "ending": "score", **options}


def build(kind, make=None):
    keras.utils.set_random_seed(0)
    model = (make or kind.make)()
    draw = np.random.default_rng(1)
    for w in model.weights:
        if w.trainable:
            w.assign(draw.normal(0, 0.5, w.shape))
        elif "moving_variance" in w.path:
            w.assign(draw.uniform(0.5, 1.5, w.shape))
    if kind.finish:
        kind.finish(model)
    return model


def inputs_of(model, kind):
    draw = np.random.default_rng(2)
    values = [draw.uniform(0, 255 if len(s) == 3 else 1, (2, *s)) for s in kind.shapes]
    values = [value.astype("float32") for value in values]
    if isinstance(getattr(model, "input", None), dict):
        return {name: values[name == "meta"] for name in model.input}
    return values if len(values) > 1 else values[0]
