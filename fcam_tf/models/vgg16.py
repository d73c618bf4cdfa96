"""VGG16 as F-CAM uses it: no pool5, no fully connected layers, one more convolution on top."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

# Block -> (convolutions, filters); a pool with stride 2 stands before each block but the first.
_BLOCKS = {1: (2, 64), 2: (2, 128), 3: (3, 256), 4: (3, 512), 5: (3, 512)}


def vgg16(
    images: Any, output_stride: int, attend: Callable[[str, Any], Any] = lambda _, x: x
) -> dict[str, Any]:
    """Build the graph (F-CAM, section 4; the thirteen convolutions are VGG16's "D").

    Output stride 8 (the paper's) has neither pool4 nor pool5, 16 has pool4, 32 has both. The map of
    level P1 is (B, H/2, W/2, 128), P2 is (B, H/4, W/4, 256), P3 and P4 have 512 channels and P5 has
    1024, at the output stride or finer.
    """
    x = images
    stride = 1
    feature_maps = {}
    for block, (repeats, filters) in _BLOCKS.items():
        if block > 1 and stride < output_stride:  # pool4 is dropped at stride 8
            name = f"block{block - 1}_pool"
            x = attend(name, keras.layers.MaxPooling2D(2, name=name)(x))
            stride *= 2
        for i in range(1, repeats + 1):
            x = keras.layers.Conv2D(
                filters, 3, padding="same", activation="relu", name=f"block{block}_conv{i}"
            )(x)
        x = attend(f"block{block}_conv{repeats}", x)
        if block > 1:
            feature_maps[f"P{block - 1}"] = x
    if stride < output_stride:
        x = keras.layers.MaxPooling2D(2, name="block5_pool")(x)
    feature_maps["P5"] = keras.layers.Conv2D(
        1024, 3, padding="same", activation="relu", name="conv6"
    )(x)
    return feature_maps
