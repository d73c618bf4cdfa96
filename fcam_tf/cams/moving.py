"""Whether a model crops, pads, mirrors or rotates the images, which would shift its map."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from fcam_tf.graphs import graph

# Operations of Keras that may move what an image shows, by the names of their classes.
_MOVES = {
    *("CenterCrop", "Cropping2D", "RandomCrop", "Resizing", "ZeroPadding2D", "UpSampling2D"),
    *("Permute", "Reshape", "GetItem", "Flip", "Transpose", "Pad", "Roll", "Rot90"),
    *("Resize", "CropImages", "PadImages", "Lambda"),
}
_BANDS = 32  # of an image, down and across: what convolutions pad and trim is narrower
_SIDES = (256, 192)  # of an image of any size


def moving_layers(
    model: keras.Model, maker: Mapping[int, graph.Step], images: Any, x: Any
) -> list[str]:
    """Name the layers before a feature map that move the content of the images.

    Only layers that process the image itself are examined, up to the first convolution, because a
    model does its preprocessing there. Resizing the whole image moves nothing.

    Args:
        model: a flat functional model.
        maker: the step that computes each of its tensors.
        images: its symbolic images (B, H, W, C).
        x: a symbolic feature map.

    Returns:
        Names in the order in which they run; empty if positions in the map and in the image agree,
        or if that cannot be determined.
    """
    if len(images.shape) != 4:
        return []
    needed = {id(y) for y in graph.leading_to(maker, [x])}
    pictures: dict[int, list[Any]] = {id(images): []}  # with the layers that made them move
    ends: dict[int, Any] = {}
    for step in graph.steps(model):
        source = next((y for y in step.inputs if id(y) in pictures), None)
        output = step.outputs[0]
        if source is None or id(output) not in needed:
            continue
        moves = _may_move(step.operation) and len(output.shape) == 4
        goes_on = moves or tuple(output.shape) == tuple(source.shape)
        if goes_on:
            pictures[id(output)] = [*pictures[id(source)], *[step.operation] * moves]
        if not goes_on or output is x:
            before = None if goes_on else _before_pad(step, maker.get(id(source)))
            end = output if goes_on else source if before is None else before
            ends[id(end)] = end
    for end in ends.values():
        moving = pictures[id(end)]
        if moving and _is_moved(keras.Model(images, end)):
            return [operation.name for operation in moving]
    return []


def _before_pad(step: graph.Step, made: graph.Step | None) -> Any:
    """Return the image that was padded for a convolution which trims it again, as for "same"."""
    kernel, pad = getattr(step.operation, "kernel_size", None), made and made.operation
    if made is None or not isinstance(pad, keras.layers.ZeroPadding2D) or not kernel:
        return None
    trims = getattr(step.operation, "padding", None) == "valid"
    fits = all(max(sides) < k for sides, k in zip(pad.padding, kernel, strict=True))
    return made.inputs[0] if trims and fits else None


def _may_move(operation: Any) -> bool:
    """Tell whether an operation may move an image: by its name, or as one that is not of Keras."""
    cls = type(operation)
    ours = cls.__module__.startswith("keras.")
    # What learns is the model, not its preprocessing.
    return cls.__name__ in _MOVES if ours else not getattr(operation, "trainable_weights", ())


def _is_moved(pictures: keras.Model) -> bool:
    """Tell whether bands of an image are lost on the way, or come out elsewhere."""
    (images,) = pictures.inputs
    sides = [side or n for side, n in zip(images.shape[1:3], _SIDES, strict=True)]
    image = np.random.default_rng(0).random((1, *sides, images.shape[3]), np.float32)
    try:
        before = _output(pictures, image)
        if (_output(pictures, image) != before).any():  # random even as it infers
            return False
        return any(_is_moved_along(axis, pictures, image, before) for axis in (0, 1))
    except Exception:  # noqa: BLE001 - others' code, such as for a size that is not known here
        return False


def _is_moved_along(
    axis: int, pictures: keras.Model, image: np.ndarray, before: np.ndarray
) -> bool:
    across = np.moveaxis(image[0], axis, 0)
    cells = before.shape[axis]
    lost, moves = [], []
    edges = np.linspace(0, len(across), min(_BANDS, len(across)) + 1).round().astype(int)
    for start, end in itertools.pairwise(edges):
        inverted = across.copy()
        inverted[start:end] = 1 - inverted[start:end]
        changed = np.abs(_output(pictures, np.moveaxis(inverted, 0, axis)[None]) - before)
        changed = np.moveaxis(changed, axis, 0).reshape(cells, -1).max(1)
        # Half of the most: what depends on the whole image changes a little everywhere.
        most = np.flatnonzero(changed > changed.max() / 2)
        lost.append(not len(most))
        if len(most):  # Relative to the sides: a map is scaled to the image from edge to edge.
            moves.append(abs((most.mean() + 0.5) / cells - (start + end) / 2 / len(across)))
    far = 1 / _BANDS + 0.5 / cells
    return bool(moves) and (any(lost) or max(moves) > far)


def _output(pictures: keras.Model, image: np.ndarray) -> np.ndarray:
    """Return what the layers make of an image (1, H, W, C) as they infer: (H', W', C')."""
    moved = keras.ops.convert_to_numpy(graph.replay(pictures, image, _inferring)[0])
    return moved.astype("float32")


def _inferring(operation: Any) -> Any:
    infers = getattr(operation, "_call_has_training_arg", False)
    return functools.partial(operation, training=False) if infers else operation
