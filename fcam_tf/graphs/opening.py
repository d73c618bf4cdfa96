"""Looking into layers and models that a functional graph shows as one opaque step."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from fcam_tf.graphs import graph
from fcam_tf.names import error_text

_TOLERANCE = 1e-4  # of what a layer and its graph give, relative to the largest value


class Opened:
    """A model as one flat graph, in which layers of transformers are taken apart, too.

    A layer that takes tokens (batch, tokens, channels), is made of layers and has a ``call`` of its
    own, such as the encoders of keras-hub, becomes the graph that its ``call`` builds on symbolic
    tensors, if that computes the same. Others stay one step.

    Args:
        model: a functional or built sequential model, or a subclassed one whose ``call`` can be
            traced and that has been called on data.

    Attributes:
        model: the flat graph; weights are shared.
        names: its tensors by the path of the layer that gives them,
            "vit_encoder/transformer_block_1/ln_1".
        closed: the layers of tokens that could not be taken apart.

    Raises:
        TypeError: ``model`` has no functional graph, and its ``call`` cannot be traced.
    """

    def __init__(self, model: keras.Model) -> None:
        self.names: dict[str, Any] = {}
        self.closed: list[Any] = []
        self._view = graph.unique_names()
        whole = graph.as_functional(model) or _traced_model(model)
        nested = any(graph.as_functional(layer) for layer in whole.layers)
        if nested or any(_takes_tokens(step.operation, step.inputs) for step in graph.steps(whole)):
            inputs = keras.tree.map_structure(graph.same_input, whole.input)
            self.model = keras.Model(inputs, self._run(whole, inputs, ()), name=model.name)
        else:
            self.model = whole

    def _run(self, model: keras.Model, inputs: Any, path: tuple[str, ...]) -> Any:
        def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            inside = (*path, operation.name)
            if graph.as_functional(operation) is not None:
                outputs = self._run(graph.as_functional(operation), args[0], inside)
            elif (traced := self._traced(operation, args, kwargs)) is not None:
                inner, tensors, structure, noted = traced
                flat = keras.tree.flatten(self._run(inner, tensors, inside))
                self.names |= {
                    "/".join((*inside, name)): x
                    for name, x in zip(noted, flat[len(flat) - len(noted) :], strict=True)
                }
                given = iter(flat)
                outputs = keras.tree.map_structure(
                    lambda x: next(given) if _is_symbolic(x) else x, structure
                )
            else:
                outputs = self._view(operation)(*args, **kwargs)
            if isinstance(operation, keras.layers.Layer):
                self.names["/".join(inside)] = keras.tree.flatten(outputs)[0]
            return outputs

        return model._run_through_graph(inputs, operation_fn=lambda o: o, call_fn=call)  # noqa: SLF001

    def _traced(
        self, layer: Any, args: Any, kwargs: Any
    ) -> tuple[Any, list[Any], Any, list[str]] | None:
        tensors = [x for x in keras.tree.flatten((args, kwargs)) if _is_symbolic(x)]
        if not _takes_tokens(layer, tensors):
            return None
        try:
            traced, structure, noted = _trace(layer, args, kwargs)
        except Exception:  # noqa: BLE001 - whatever stops user code on symbolic tensors
            self.closed.append(layer)
            return None
        return traced, tensors, structure, noted


def _takes_tokens(layer: Any, tensors: list[Any]) -> bool:
    return bool(tensors) and len(tensors[0].shape) == 3 and _is_opaque(layer)


def _is_symbolic(x: Any) -> bool:
    return isinstance(x, keras.KerasTensor)


def _is_opaque(layer: Any) -> bool:
    """Tell whether a layer is made of layers, by a ``call`` that is not Keras's."""
    return (
        isinstance(layer, keras.layers.Layer)
        and not type(layer).__module__.startswith(("keras.", "fcam_tf."))
        and any(True for _ in layer._flatten_layers(include_self=False))  # noqa: SLF001
    )


@contextlib.contextmanager
def _calling_through(layer: Any) -> Iterator[dict[str, Any]]:
    """Let the opaque layers in a layer that Keras cannot call on symbolic tensors run inline.

    Such are those that return None beside tensors. Yields what the layers within them give, by
    their paths.
    """
    path: list[str] = []
    noted: dict[str, Any] = {}
    inline: list[Any] = []

    view = graph.unique_names()

    def named(each: Any, plain: type) -> Any:
        through = type(each)
        object.__setattr__(each, "__class__", plain)
        found = view(each)
        object.__setattr__(each, "__class__", through)
        return found

    def called(plain: type) -> Any:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            if not any(map(_is_symbolic, keras.tree.flatten((args, kwargs)))):
                return plain.__call__(self, *args, **kwargs)  # type: ignore[operator]
            path.append(self.name)
            try:
                outputs = plain.__call__(named(self, plain), *args, **kwargs)  # type: ignore[operator]
            except ValueError:
                if not opaque[id(self)]:
                    raise
                inline.append(self)
                outputs = self.call(*args, **kwargs)
                inline.pop()
                noted["/".join(path)] = next(filter(_is_symbolic, keras.tree.flatten(outputs)))
            if inline:  # others are looked into by themselves
                noted["/".join(path)] = next(filter(_is_symbolic, keras.tree.flatten(outputs)))
            path.pop()
            return outputs

        return call

    layers = list(layer._flatten_layers(include_self=False))  # noqa: SLF001
    opaque = {id(each): _is_opaque(each) for each in layers}
    plain = [type(each) for each in layers]
    try:
        for each, cls in zip(layers, plain, strict=True):
            through = type(cls.__name__, (cls,), {"__call__": called(cls)})
            object.__setattr__(each, "__class__", through)
        yield noted
    finally:
        for each, cls in zip(layers, plain, strict=True):
            object.__setattr__(each, "__class__", cls)


def _trace(layer: Any, args: Any, kwargs: Any) -> tuple[keras.Model, Any, list[str]]:
    """Return the graph that a layer's ``call`` builds, what ``call`` returned, and more names.

    These are the paths of layers that ran inline; what they give are the last of the outputs.

    Raises:
        ValueError: the graph gives something else than the layer.
        Exception: whatever ``call`` raises.
    """
    fresh = keras.tree.map_structure(
        lambda x: graph.same_input(x) if _is_symbolic(x) else x, (args, kwargs)
    )
    options = dict(fresh[1])
    if "training" in inspect.signature(layer.call).parameters:
        options.setdefault("training", False)
    with _calling_through(layer) as noted:
        structure = layer.call(*fresh[0], **options)
    inputs = [x for x in keras.tree.flatten(fresh) if _is_symbolic(x)]
    outputs = [x for x in keras.tree.flatten(structure) if _is_symbolic(x)]
    traced = keras.Model(inputs, [*outputs, *noted.values()])

    draw = np.random.default_rng(0)
    tried = iter([draw.uniform(0, 2, [n or 2 for n in x.shape]).astype(x.dtype) for x in inputs])
    values = keras.tree.map_structure(
        lambda x: ops.convert_to_tensor(next(tried)) if _is_symbolic(x) else x, fresh
    )
    wanted = keras.tree.flatten(layer(*values[0], **{**values[1], **_inference(layer)}))
    flat = [x for x in keras.tree.flatten(values) if ops.is_tensor(x)]
    found = keras.tree.flatten(traced(flat, training=False))[: len(outputs)]
    symbolic = [_is_symbolic(x) for x in keras.tree.flatten(structure)]
    for want, have in zip(
        [w for w, there in zip(wanted, symbolic, strict=True) if there], found, strict=True
    ):
        a, b = (ops.convert_to_numpy(ops.cast(x, "float32")) for x in (want, have))
        if a.shape != b.shape or not np.allclose(a, b, 0, _TOLERANCE * max(1, np.abs(a).max())):
            raise ValueError("on symbolic tensors it computes something else")
    return traced, structure, list(noted)


def _inference(layer: Any) -> dict[str, bool]:
    return {"training": False} if "training" in inspect.signature(layer.call).parameters else {}


def _traced_model(model: keras.Model) -> keras.Model:
    """Return the graph of a subclassed model."""
    wanted = (
        f"`model` must be a functional or built sequential model. Received: {model!r}. Rebuild it "
        "with keras.Model(inputs, outputs), or call a Sequential once on data"
    )
    shapes = getattr(model, "_build_shapes_dict", None)
    if isinstance(model, keras.Sequential) or not (shapes or model.built):
        raise TypeError(f"{wanted}; a subclassed model, too, shows its graph once it was called.")
    # Keras keeps no shape where it could not trace `call` either: any will tell why.
    shape = next(iter(shapes.values())) if shapes else (None, 64, 64, 3)
    # A file keeps a list.
    if not isinstance(shape, tuple | list) or not all(isinstance(n, int | None) for n in shape):
        raise TypeError(f"{wanted}: a subclassed model must take one tensor.")
    images = keras.KerasTensor((None, *shape[1:]), dtype="float32")
    try:
        traced, structure, _ = _trace(model, (images,), {})
    except Exception as error:
        reason = " ".join(error_text(error).split())[:300]
        raise TypeError(
            f"{wanted}. Its `call` cannot be traced with symbolic tensors: "
            f"{type(error).__name__}: {reason}"
        ) from error
    outputs = iter(traced.outputs)
    return keras.Model(
        traced.inputs[0],
        keras.tree.map_structure(lambda _: next(outputs), structure),
        name=model.name,
    )
