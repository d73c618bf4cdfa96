"""How a classifier ends: its logits, and how they become probabilities."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from fcam_tf.graphs import graph

L = keras.layers
Activation = Literal["softmax", "sigmoid"]
_SIDE = 64  # pixels of the images that an opaque ending is tried on
# By the name of an activation, an operation or a layer. A log-softmax gives logits less what all
# classes have in common, so that it counts as logits wherever no gradient is taken.
_ENDINGS = {
    "softmax": "softmax",
    "softmax_v2": "softmax",  # of TensorFlow
    "sigmoid": "sigmoid",
    "log_softmax": "log_softmax",
    "log_softmax_v2": "log_softmax",
    "logsoftmax": "log_softmax",
}
# They keep the order of the classes, but have no gradient left at their ends: like log-softmax they
# are taken off. Scores of the user's own take their outputs as they are.
_BOUNDED = ("tanh", "hard_tanh", "softsign")
_BINARY_LOSSES = (
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "bce",
    "BCE",
    "sparse_sigmoid_crossentropy",  # ours
)


@dataclasses.dataclass(frozen=True)
class Ending:
    """How the outputs of a classifier become logits, one per class, and probabilities.

    One unit stands for two classes: if z is its value before the sigmoid, their logits are -z/2 and
    z/2, and their softmax is 1 - sigmoid(z) and sigmoid(z).

    Attributes:
        dense: the last layer, if it computes x @ kernel + bias and nothing else.
        scores: the input of that layer; without one, the model's output before any softmax or
            sigmoid.
        units: width of the model's output; 0 for a score.
        activation: what turns logits into probabilities.
        gives_probabilities: whether the model's outputs are probabilities.
        opaque: whether ``scores`` are also probabilities, because of a function that cannot be
            removed.
    """

    dense: Any
    scores: Any
    units: int
    activation: Activation
    gives_probabilities: bool
    opaque: bool

    @classmethod
    def of_score(cls, outputs: list[Any]) -> Ending:
        """Return the ending of a model whose outputs a function turns into one score."""
        return cls(None, outputs, 0, "softmax", gives_probabilities=False, opaque=False)

    @property
    def num_classes(self) -> int:
        return classes_of(self.units) if self.units else 1

    @property
    def gain(self) -> float:
        """The factor from a class's logit to the score that is explained, z or -z."""
        return 2.0 if self.units == 1 else 1.0

    def logits(self, scores: Any) -> Any:
        """Return the logits (B, classes) of ``scores``, or of the dense layer's output."""
        if self.opaque:
            smallest = keras.config.epsilon()
            odds = ops.log(ops.maximum(scores, smallest))
            if self.activation == "sigmoid" or self.units == 1:
                odds -= ops.log(ops.maximum(1 - scores, smallest))
            scores = odds
        return ops.concatenate([-scores / 2, scores / 2], axis=-1) if self.units == 1 else scores

    def kernel(self) -> Any:
        """Return the kernel (C, classes) float32 of the scores that are explained, z or -z."""
        kernel = ops.cast(self.dense.kernel, "float32")  # LoRA computes it anew
        return ops.concatenate([-kernel, kernel], axis=1) if self.units == 1 else kernel


def classes_of(units: int) -> int:
    """Return the number of classes of a model with this many outputs."""
    return max(units, 2)


def ending_of(model: keras.Model, loss: Any = None) -> Ending:
    """Find out how a flat functional classifier ends.

    Several outputs are independent probabilities (sigmoids) if the model ends in a sigmoid, or if
    it ends in no activation and ``loss``, which it was compiled with, is a binary cross-entropy.

    Raises:
        ValueError: the softmax or sigmoid is part of a layer that does more than a dense one, or it
            is the softmax of one unit.
    """
    maker = graph.makers(graph.steps(model))
    output = model.outputs[0]
    units = output.shape[-1]
    dense, scores, end = _before_activation(maker, output)
    if units == 1 and "softmax" in end:
        raise ValueError(
            "`model` ends in the softmax of one unit, which is 1 whatever the image. End it in a "
            "sigmoid, or in two units."
        )
    opaque = "" if dense or end else _tried_out(model, maker)
    end = end or opaque
    name = getattr(loss, "name", getattr(loss, "__name__", loss))
    labels = end == "sigmoid" or (not end and name in _BINARY_LOSSES)
    return Ending(
        dense=dense,
        scores=scores,
        units=units,
        activation="sigmoid" if labels and units > 1 else "softmax",
        gives_probabilities=end in ("softmax", "sigmoid"),
        opaque=bool(opaque),
    )


def probabilities(logits: Any, activation: Activation) -> Any:
    """Return the probabilities (B, classes) of logits: joint (softmax) or independent (sigmoid)."""
    return ops.sigmoid(logits) if activation == "sigmoid" else ops.softmax(logits)


def logits_output(model: keras.Model, ending: Ending) -> Any:
    """Return the symbolic logits (B, classes) of a flat functional classifier.

    A softmax or sigmoid at the end of a dense layer is removed: ``model`` returns logits
    afterwards. A layer of a single unit gets a second one.
    """
    dense, scores = ending.dense, ending.scores
    if dense is None:
        return ending.logits(scores)
    if ending.units > 1:
        dense.activation = keras.activations.linear
        steps = graph.steps(model)
        return next(step.outputs[0] for step in steps if step.inputs and step.inputs[0] is scores)
    config = dense.get_config() | {"units": 2, "activation": None}
    config.pop("lora_rank", None)  # the kernel holds what it adds
    both = L.Dense.from_config(config)
    logits = both(scores)
    weights = [w for w in (dense.kernel, dense.bias) if w is not None]
    both.set_weights([np.concatenate([-w, w], -1) / 2 for w in map(ops.convert_to_numpy, weights)])
    return logits


def _before_activation(maker: Mapping[int, graph.Step], output: Any) -> tuple[Any, Any, str]:
    """Return the last dense layer and its input, or None and the scores; and the activation."""
    step = maker[id(output)]
    operation = step.operation
    bounded = _called(operation) in _BOUNDED
    end = _called(operation) if bounded else _name(operation)
    linear = getattr(operation, "activation", None) in (None, keras.activations.linear)
    if _is_dense(operation) and (linear or end):
        return operation, step.inputs[0], end
    if not end:
        return None, output, ""
    if getattr(operation, "weights", None):  # a quantised head, say
        return None, without_probabilities(maker, output), end
    dense, scores, earlier = _before_activation(maker, step.inputs[0])
    if earlier in ("softmax", "sigmoid"):  # of probabilities: they are the logits then
        return None, step.inputs[0], end
    return dense, scores, end


def _name(operation: Any) -> str:
    """Return "softmax", "sigmoid" or "log_softmax" for what ends in that, else ""."""
    return _ENDINGS.get(_called(operation), "")


def _called(operation: Any) -> str:
    """Return the name, in small letters, of an activation, or of what a layer ends in."""
    function = getattr(operation, "activation", operation)
    return getattr(function, "__name__", type(function).__name__).lower()


def without_probabilities(maker: Mapping[int, graph.Step], output: Any) -> Any:
    """Return a symbolic output of any shape before its softmax or sigmoid, if it has one.

    Raises:
        ValueError: it is part of a layer with a ``call`` of its own.
    """
    step = maker.get(id(output))
    if step is None or not _name(step.operation):
        return output
    operation = step.operation
    if not getattr(operation, "weights", None):
        return without_probabilities(maker, step.inputs[0])
    if not type(operation).call.__module__.startswith("keras."):
        raise ValueError(_cannot_take_off(operation))
    linear = {"name": f"{operation.name}_logits", "activation": keras.activations.linear}
    return graph.view(operation, **linear)(step.inputs[0])


def _cannot_take_off(operation: Any) -> str:
    end = _name(operation)
    return (
        f"`model` ends in the layer {operation.name!r}, whose {end} cannot be taken off. Give "
        f"it no activation, and the model a layer Activation({end!r}) behind it."
    )


def _is_dense(operation: Any) -> bool:
    """Tell whether a layer computes x @ kernel + bias and nothing else."""
    return (
        isinstance(operation, L.Dense)
        and type(operation).call is L.Dense.call
        and operation.quantization_mode is None
    )


def _tried_out(model: keras.Model, maker: Mapping[int, graph.Step]) -> str:
    """Try out what a function that Keras does not know gives; warn if it is probabilities."""
    operation = maker[id(model.outputs[0])].operation
    function = getattr(operation, "activation", None) or type(operation)
    known = getattr(function, "__module__", "").startswith(("keras.", "fcam_tf."))
    if known and not isinstance(operation, L.Lambda) and _called(operation) != "hard_sigmoid":
        return ""
    draw = np.random.default_rng(0)
    shapes = [(2, *(side or _SIDE for side in x.shape[1:])) for x in model.inputs]
    tried = [
        draw.uniform(0, 255 if len(shape) == 4 else 1, shape).astype(x.dtype)
        for x, shape in zip(model.inputs, shapes, strict=True)
    ]
    outputs = keras.tree.flatten(keras.Model(model.inputs, model.outputs)(tried, training=False))
    scores = np.asarray(ops.convert_to_numpy(outputs[0]), np.float64)
    if scores.min() < 0 or scores.max() > 1:
        return ""
    together = scores.shape[-1] > 1 and np.abs(scores.sum(-1) - 1).max() < 1e-3
    seen = "sum to one" if together else "lie in [0, 1]"
    kind = "softmax" if together else "sigmoid"
    warnings.warn(
        f"`model` ends in {operation.name!r}, whose outputs {seen}: they are taken for the "
        f"probabilities of a {kind}, and the logits that follow from them are explained. To have "
        f"its own logits explained, end the model in them, or in Activation({kind!r}).",
        stacklevel=2,
    )
    return kind
