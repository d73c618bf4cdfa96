"""InceptionV3 as F-CAM uses it: Mixed_6a without stride, two SPG blocks instead of Mixed_7."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import keras

from fcam_tf.graphs.layers import BATCH_MOMENTUM, BatchNormalization, FreezableDropout

L = keras.layers


def _builder() -> Callable[..., Any]:
    """Return what convolves, numbering as keras.applications numbers in the order of creation."""
    numbers = itertools.count()

    def build(x: Any, *convolutions: tuple) -> Any:
        """Convolve by each (filters, kernel size) or (filters, kernel size, stride)."""
        for filters, kernel, *strides in convolutions:
            name = f"conv{next(numbers)}"
            padding = "same"
            if strides not in ([], [1]):  # "same" would pad one side only
                x = L.ZeroPadding2D(1, name=f"{name}_pad")(x)
                padding = "valid"
            x = L.Conv2D(filters, kernel, *strides, padding=padding, use_bias=False, name=name)(x)
            # The weight files hold no scale: it is 1, and trained from there.
            x = BatchNormalization(momentum=BATCH_MOMENTUM, epsilon=1e-3, name=f"{name}_bn")(x)
            x = L.Activation("relu", name=f"{name}_relu")(x)
        return x

    return build


def _max_pool(x: Any, name: str) -> Any:
    """3x3, stride 2, padding 1, ceiling: n -> n // 2 + 1. Zeros will do, as it follows a ReLU."""
    padded = L.ZeroPadding2D(((1, 2), (1, 2)), name=f"{name}_pad")(x)
    return L.MaxPooling2D(3, 2, name=name)(padded)


def _average_pool(x: Any, name: str) -> Any:
    return L.AveragePooling2D(3, 1, padding="same", name=f"{name}_pool")(x)


def _mixed5(build: Callable[..., Any], x: Any, pool_filters: int, name: str) -> Any:
    branches = [
        build(x, (64, 1)),
        build(x, (48, 1), (64, 5)),
        build(x, (64, 1), (96, 3), (96, 3)),
        build(_average_pool(x, name), (pool_filters, 1)),
    ]
    return L.Concatenate(name=name)(branches)


def _mixed6a(build: Callable[..., Any], x: Any, stride: int) -> Any:
    branches = [
        build(x, (384, 3, stride)),
        build(x, (64, 1), (96, 3), (96, 3, stride)),
        L.MaxPooling2D(3, stride, padding="same", name="mixed6a_max_pool")(x),
    ]
    return L.Concatenate(name="mixed6a")(branches)


def _mixed6(build: Callable[..., Any], x: Any, width: int, name: str) -> Any:
    row, column = (1, 7), (7, 1)
    branches = [
        build(x, (192, 1)),
        build(x, (width, 1), (width, row), (192, column)),
        build(x, (width, 1), (width, column), (width, row), (width, column), (192, row)),
        build(_average_pool(x, name), (192, 1)),
    ]
    return L.Concatenate(name=name)(branches)


def _spg(x: Any, name: str) -> Any:
    x = FreezableDropout(0.5, name=f"{name}_dropout")(x)
    return L.Conv2D(1024, 3, padding="same", activation="relu", name=name)(x)


def inceptionv3(
    images: Any, output_stride: int, attend: Callable[[str, Any], Any] = lambda _, x: x
) -> dict[str, Any]:
    """Build the graph (F-CAM, supplement; the SPG blocks are of Zhang et al., ECCV 2018).

    Output stride 8 is the paper's; at 16, Mixed_6a is strided as in Inception; at 32, a pool comes
    before the SPG blocks. The maps by level at stride 8 and H = W = 224 are P1 (B, 112, 112, 64),
    P2 (B, 57, 57, 80), P3 (B, 29, 29, 288), P4 (B, 29, 29, 768) and P5 (B, 29, 29, 1024); the odd
    sizes are those of the published code, which pads every 3x3 layer.
    """
    build = _builder()
    feature_maps = {"P1": build(images, (32, 3, 2), (32, 3), (64, 3))}
    feature_maps["P2"] = build(_max_pool(feature_maps["P1"], "pool1"), (80, 1))
    x = _max_pool(build(feature_maps["P2"], (192, 3)), "pool2")
    x = _mixed5(build, x, 32, "mixed5b")
    feature_maps["P3"] = _mixed5(build, x, 64, "mixed5c")
    x = attend("mixed5d", _mixed5(build, feature_maps["P3"], 64, "mixed5d"))
    x = _mixed6a(build, x, 1 if output_stride == 8 else 2)
    for width, letter in ((128, "b"), (160, "c"), (160, "d"), (192, "e")):
        x = _mixed6(build, x, width, f"mixed6{letter}")
    feature_maps["P4"] = x = attend("mixed6e", x)
    if output_stride == 32:
        x = L.MaxPooling2D(2, padding="same", name="pool3")(x)
    feature_maps["P5"] = attend("spg_a3_2b", _spg(_spg(x, "spg_a3_1b"), "spg_a3_2b"))
    return feature_maps
