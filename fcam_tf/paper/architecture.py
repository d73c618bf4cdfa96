"""The network as built: what each block of the decoder takes and gives, and what it all weighs.

Source: F-CAM (Belharbi et al., WACV 2022), supplement, table 2 (the decoders) and the counts of
table 4 (#PCL, #PDEC, #NFM, SFM). Everything is read off a built model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import keras

from fcam_tf.models import FCAM, Classifier
from fcam_tf.models.pretrained import HEAD

Shape = tuple[int, int, int]  # height, width, channels
_PREFIX = "decoder_"
_STATISTICS = ("moving_mean", "moving_variance")  # of batch normalisation


class Block(NamedTuple):
    """One block of the decoder: two convolutions, and what leads up to them."""

    name: str  # "center", "block1", ...
    input: Shape  # from below
    doubled: bool  # whether the input is doubled first
    skip: Shape | None  # of the classifier, concatenated; None where the block has none
    output: Shape
    parameters: int


class Architecture(NamedTuple):
    """An F-CAM, with the counts of its parameters: what training can change, no statistics."""

    backbone: str
    classifier: int  # parameters of backbone and head, the paper's #PCL
    head: int  # those of the head among them
    decoder: int  # of the blocks, the paper's #PDEC, which leaves out the last convolution
    last: int  # of that convolution, which gives background and object
    top: Shape  # the maps that a CAM weights, the paper's SFM and #NFM
    output: Shape  # of the model
    blocks: tuple[Block, ...]


def describe(
    backbone: str, num_classes: int = 200, *, output_stride: int | None = None, size: int = 224
) -> Architecture:
    """Build a backbone's F-CAM without weights, and read it.

    Args:
        backbone: a name in `fcam_tf.models.BACKBONES`.
        num_classes: of the head; CUB's by default, as in the paper's tables.
        output_stride: see `fcam_tf.models.Classifier`.
        size: side of the image, in pixels.

    Raises:
        ValueError: unknown backbone or impossible ``output_stride``.
    """
    classifier = Classifier(backbone, num_classes, output_stride=output_stride, weights=None)
    return read(FCAM(classifier), size)


def read(model: FCAM, size: int = 224) -> Architecture:
    """Read an F-CAM of a classifier of ours; see `describe`."""
    classifier: Any = model.classifier
    names, tensors = _names(model), _tensors_by_block(model)
    symbolic = [x for found in tensors.values() for x in found if x is not None]
    top, output = classifier.feature_maps["P5"], model.output["fcam"]
    sizes = _sizes(model, [*symbolic, top, output], size)

    def block(name: str) -> Block:
        start, skip, end = tensors[name]
        return Block(
            name,
            sizes[id(start)],
            f"{_PREFIX}{name}_double" in names,
            None if skip is None else sizes[id(skip)],
            sizes[id(end)],
            _parameters(x for x in model.layers if x.name.startswith(f"{_PREFIX}{name}_")),
        )

    found = tuple(map(block, tensors))
    return Architecture(
        classifier.backbone,
        _parameters(classifier.layers),
        _parameters([classifier.get_layer(HEAD)]),
        sum(each.parameters for each in found),
        _parameters([model.get_layer(f"{_PREFIX}head")]),
        sizes[id(top)],
        sizes[id(output)],
        found,
    )


def decoder_inputs(model: FCAM) -> list[Any]:
    """Return what the decoder takes of the classifier, symbolic: the top map, then its skips."""
    skips = [skip for _, skip, _ in _tensors_by_block(model).values() if skip is not None]
    return [model.classifier.feature_maps["P5"], *skips]


def _names(model: FCAM) -> list[str]:
    return [layer.name for layer in model.layers if layer.name.startswith(_PREFIX)]


def _tensors_by_block(model: FCAM) -> dict[str, tuple[Any, Any, Any]]:
    """Return `_tensors` of each block, the coarsest first."""
    names = _names(model)
    blocks = dict.fromkeys(name.split("_")[1] for name in names if name != f"{_PREFIX}head")
    return {block: _tensors(model, block, names) for block in blocks}


def _tensors(model: FCAM, block: str, names: list[str]) -> tuple[Any, Any, Any]:
    """Return what a block takes from below, its skip or None, and what it gives."""

    def layer(step: str) -> Any:
        return model.get_layer(f"{_PREFIX}{block}_{step}")

    skip = layer("concat").input[1] if f"{_PREFIX}{block}_concat" in names else None
    # The first layer of the block, as `fcam_tf.models.decoder.decoder` builds it.
    if f"{_PREFIX}{block}_double" in names:
        start = layer("double").input
    else:
        start = layer("conv1").input if skip is None else layer("concat").input[0]
    return start, skip, layer("relu2").output


def _sizes(model: FCAM, tensors: list[Any], size: int) -> dict[int, Shape]:
    """Return the (height, width, channels) of symbolic tensors for images of one size, by id."""
    (images,) = model.inputs
    example = keras.KerasTensor((1, size, size, 3), images.dtype)
    specs = keras.Model(images, tensors).compute_output_spec(example)
    return {id(x): tuple(spec.shape[1:]) for x, spec in zip(tensors, specs, strict=True)}


def _parameters(layers: Iterable[Any]) -> int:
    """Count what the layers learn; what is frozen at the moment counts, too."""
    return sum(
        math.prod(variable.shape)
        for layer in layers
        for variable in layer.weights
        if variable.name not in _STATISTICS
    )
