"""Whether a model crops, pads, mirrors or turns the images: its map would lie elsewhere on them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from fcam_tf.graphs import graph

# Operations of Keras that may move what an image shows, by the names of their classes.
_MOVES = {
    *("CenterCrop", "Cropping2D", "RandomCrop", "Resizing", "ZeroPadding2D", "UpSampling2D"),
    *("Permute", "Reshape", "GetItem", "Flip", "Transpose", "Pad", "Roll", "Rot90"),
    *("Resize", "CropImages", "PadImages"),
}
_FAR = 1 / 32  # of a side; what convolutions pad and trim moves less
_SIDES = (256, 192)  # of an image of any size


def moving_layers(
    model: keras.Model, maker: Mapping[int, graph.Step], images: Any, x: Any
) -> list[str]:
    """Name the layers that put the images' content elsewhere before a feature map, if any do.

    Only what handles images themselves is looked at, up to the first convolution: there a model
    does its own preprocessing. Resizing the whole image moves nothing.

    Args:
        model: a flat functional model.
        maker: the step that gives each of its tensors.
        images: its symbolic images (B, H, W, C).
        x: a symbolic feature map.

    Returns:
        Names in the order in which they run; empty where each place of the map is that of the
        image, or where that cannot be told.
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
        moves = type(step.operation).__name__ in _MOVES and len(output.shape) == 4
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


def _is_moved(pictures: keras.Model) -> bool:
    """Tell by images of their own coordinates whether places in the output are other ones."""
    (images,) = pictures.inputs
    height, width = (side or n for side, n in zip(images.shape[1:3], _SIDES, strict=True))
    rows, columns = _places(height, width)
    each = np.stack([rows, columns, np.ones_like(rows)])[..., None]
    coordinates = np.repeat(each, images.shape[3], axis=-1).astype("float32")
    try:
        output = np.asarray(graph.replay(pictures, coordinates, _only_moving), "float32")
    except (TypeError, ValueError):  # such as of a size that is not known here
        return False
    *found, inside = output[..., 0]
    # Relative to the whole of it: a map is scaled to the image from edge to edge.
    far = np.abs(np.stack(found) - np.stack(_places(*inside.shape))).max(0)
    return not (inside > 0.99).any() or bool(far[inside > 0.99].max() > _FAR)


def _places(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre of each pixel, down and across, as fractions of the sides."""
    rows, columns = (np.arange(side) + 0.5 for side in (height, width))
    down, across = np.meshgrid(rows / height, columns / width, indexing="ij")
    return down, across


def _only_moving(operation: Any) -> Any:
    """Return an operation that moves, as it infers; of others one that changes nothing."""
    if type(operation).__name__ not in _MOVES:
        return _first_picture
    infers = getattr(operation, "_call_has_training_arg", False)
    return functools.partial(operation, training=False) if infers else operation


def _first_picture(*inputs: Any, **_: Any) -> Any:
    return next(x for x in keras.tree.flatten(inputs) if len(getattr(x, "shape", ())) == 4)
