"""Replaying a functional graph on new inputs: how models are composed flat and taken apart."""

from __future__ import annotations

import dataclasses
import itertools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras

from fcam_tf.graphs.layers import BatchNormalization, FreezableDropout, SqueezeExcite


class Untracked(types.SimpleNamespace):
    """Models, layers and compiled functions that a model keeps, but that are no parts of it.

    Keras and TensorFlow track attributes of a model, and lists and dictionaries there: weights
    would be counted, trained and saved twice. They do not look into a plain object.
    """


def as_functional(model: keras.Model) -> Any:
    """Return ``model`` or the graph of a built ``Sequential``; None where there is no graph.

    A model with a ``call`` of its own counts as subclassed even if it was built from tensors, as
    its graph is not what it computes; unless its class says ``infers_by_graph = True``.
    """
    definer = next((cls for cls in type(model).__mro__ if "call" in vars(cls)), object)
    if not definer.__module__.startswith("keras.") and not getattr(model, "infers_by_graph", False):
        return None
    if isinstance(model, keras.Sequential):
        return getattr(model, "_functional", None)
    return model if hasattr(model, "_run_through_graph") else None


def replay(
    model: keras.Model,
    inputs: Any,
    replace: Callable[[Any], Callable[..., Any]] = lambda operation: operation,
) -> Any:
    """Run every operation of a functional model on ``inputs``, nested models inlined.

    ``replace`` gives the callable that takes the place of an operation; the default reuses the
    layers, so that weights are shared. Returns what ``model`` returns.
    """
    graph = _functional(model)

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if as_functional(operation) is not None:
            return replay(operation, args[0], replace)
        return replace(operation)(*args, **kwargs)

    return graph._run_through_graph(inputs, operation_fn=lambda o: o, call_fn=call)  # noqa: SLF001


def _functional(model: keras.Model) -> Any:
    graph = as_functional(model)
    if graph is None:
        raise TypeError(
            f"`model` must be a functional or built sequential model. Received: {model!r}. "
            "Rebuild it with keras.Model(inputs, outputs), call a Sequential once on data, or give "
            "the .classifier of an F-CAM."
        )
    return graph


def flatten(model: keras.Model) -> keras.Model:
    """Return ``model`` as one flat functional graph that shares its layers and weights.

    Args:
        model: a functional or built sequential model, possibly with models nested inside it.

    Returns:
        A functional model with the same inputs and outputs in which no layer is itself a model;
        the graph of ``model`` itself if it is flat already.

    Raises:
        TypeError: ``model`` has no functional graph.
    """
    graph = _functional(model)
    if not any(as_functional(layer) for layer in graph.layers):
        return graph
    inputs = keras.tree.map_structure(same_input, graph.input)
    return keras.Model(inputs, replay(graph, inputs, unique_names()), name=model.name)


def same_input(tensor: Any) -> Any:
    """Return a new input of the shape, dtype and name of a symbolic tensor."""
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)


def view(operation: Any, **changed: Any) -> Any:
    """Return an operation that shares all, weights too, but the attributes that are ``changed``."""
    # Copying would save and load the weights.
    shared = object.__new__(type(operation))
    shared.__dict__.update(operation.__dict__)
    shared.__dict__.update(_inbound_nodes=[], _outbound_nodes=[], **changed)
    return shared


def unique_names() -> Callable[[Any], Any]:
    """Return a ``replace`` function for `replay` that gives the second layer of a name another."""
    owners: dict[str, Any] = {}
    views: dict[int, Any] = {}

    def replace(operation: Any) -> Any:
        if owners.setdefault(operation.name, operation) is operation:
            return operation
        if id(operation) not in views:
            name = next(
                name
                for name in (f"{operation.name}_{i}" for i in itertools.count(2))
                if name not in owners
            )
            owners[name] = views[id(operation)] = view(operation, name=name)
        return views[id(operation)]

    return replace


def run(model: keras.Model, inputs: Any) -> Any:
    """Run a flat functional model in training mode as far as its layers train.

    A frozen layer infers, whatever is in it: dropout, noise and batch statistics stay as they are
    when the model answers. So does each layer that changes the image (``RandomFlip``): what a loss
    compares with the image would be elsewhere.
    """

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(operation, keras.layers.Layer):
            augments = ".preprocessing" in type(operation).__module__
            kwargs["training"] = operation.trainable and not augments
        return operation(*args, **kwargs)

    return _functional(model)._run_through_graph(inputs, operation_fn=lambda o: o, call_fn=call)  # noqa: SLF001


@dataclasses.dataclass(frozen=True)
class Step:
    """One operation of a graph, with the symbolic tensors that it takes and gives."""

    operation: Any
    inputs: list[Any]
    outputs: list[Any]


def steps(model: keras.Model) -> list[Step]:
    """List the operations of a flat functional model in the order in which they run."""
    nodes_by_depth = model._nodes_by_depth  # noqa: SLF001 - Keras names no public way
    return [
        Step(node.operation, node.input_tensors, node.outputs)
        for depth in sorted(nodes_by_depth, reverse=True)
        for node in nodes_by_depth[depth]
        if not node.is_input
    ]


def makers(made_by: Iterable[Step]) -> dict[int, Step]:
    """Return the step that gives each tensor, by the ``id`` of the tensor."""
    return {id(tensor): step for step in made_by for tensor in step.outputs}


def leading_to(
    maker: Mapping[int, Step], tensors: Iterable[Any], without: Iterable[Any] = ()
) -> Iterator[Any]:
    """Give what symbolic tensors are computed from, and themselves, each once, the nearest first.

    ``maker`` is of `makers`. Paths end at the tensors ``without``, which are not given.
    """
    seen, waiting = {id(x) for x in without}, list(tensors)
    for tensor in waiting:  # which grows
        if id(tensor) not in seen:
            seen.add(id(tensor))
            yield tensor
            waiting += maker[id(tensor)].inputs if id(tensor) in maker else []


# By name, since keras_cv is not imported here.
_OURS = {
    "BatchNormalization": BatchNormalization,
    "Dropout": FreezableDropout,
    "SqueezeAndExcite2D": SqueezeExcite,
}


def copy_layers() -> Callable[[Any], Callable[..., Any]]:
    """Return a ``replace`` function for `replay` that copies layers, with stable names.

    Layers that Keras named by counting (``multiply_34``) are counted anew, so that a model gets
    the same names each time it is built. Weights are not copied. Layers that would not stay frozen,
    or are slow, become those of `fcam_tf.graphs.layers`.
    """
    copies: dict[int, Any] = {}
    counts: dict[str, int] = {}

    def replace(operation: Any) -> Any:
        if not isinstance(operation, keras.layers.Layer):
            return operation
        if id(operation) not in copies:
            cls: Any = _OURS.get(type(operation).__name__, type(operation))
            config = operation.get_config()
            stem, _, digits = operation.name.rpartition("_")
            stem = stem if digits.isdigit() else operation.name
            if stem.replace("_", "") == type(operation).__name__.lower():
                counts[stem] = counts.get(stem, -1) + 1
                config["name"] = f"{stem}{counts[stem]}"  # "_0" could meet the name of an operation
            copies[id(operation)] = cls.from_config(config)
        return copies[id(operation)]

    return replace
