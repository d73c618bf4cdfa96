"""The maps of a classifier by resolution, which a decoder uses as its skips."""

from __future__ import annotations

import math
from typing import Any

import keras

from fcam_tf.graphs import graph

_SIDE = 256  # any size that halves cleanly tells the strides


def skips_of(
    classifier: keras.Model, top: Any, spec: Any
) -> tuple[dict[str, Any], list[tuple[Any, bool]]]:
    """Return the maps by level and, for each block but the last, its skip and whether it is finer.

    A `Classifier` has stages P1 to P4 below the top at any output stride. For other models, the
    last map of each resolution is used.
    """
    if spec is None:
        found = levels(classifier, top)
        top_level = max(found)
        feature_maps = {f"P{level}": x for level, x in found.items()}
        skips = [(found.get(level), True) for level in range(top_level - 1, 0, -1)]
        return feature_maps, skips
    feature_maps = classifier.feature_maps
    strides = {level: min(2**level, classifier.output_stride) for level in range(1, 6)}
    skips = [(feature_maps.get(f"P{n}"), strides[n] < strides[n + 1]) for n in range(4, 0, -1)]
    if spec.decoder_center:
        skips = [(skip, finer) for skip, finer in skips if finer]
    return feature_maps, skips


def levels(model: keras.Model, top: Any) -> dict[int, Any]:
    """Find in a flat classifier the last map of each resolution on the way to the top map.

    Returns symbolic maps (B, h, w, C) by level, the finest first and the top last; level n is 2^n
    times smaller than the image, rounded. Level 0, the image itself, is left out.
    """
    leading = graph.makers(graph.steps(keras.Model(model.inputs, top)))  # to the top, none beside
    maps = [
        x
        for step in graph.steps(model)
        for x in step.outputs
        if id(x) in leading and len(x.shape) == 4
    ]
    (images,) = model.inputs
    height, width = (side or _SIDE for side in images.shape[1:3])
    example = keras.KerasTensor((None, height, width, images.shape[3]), images.dtype)
    specs = keras.tree.flatten(keras.Model(images, maps).compute_output_spec(example))
    found = {}
    for x, spec in zip(maps, specs, strict=True):
        level = round(math.log2(max(height, width) / max(spec.shape[1:3])))
        if level > 0:
            found[level] = x
    top_level = next((level for level, x in found.items() if x is top), None)
    if top_level is None:
        raise ValueError(
            "`layer` is as large as the image: there is nothing for a decoder to refine. "
            "Choose a coarser map."
        )
    return {level: found[level] for level in sorted(found) if level <= top_level}
