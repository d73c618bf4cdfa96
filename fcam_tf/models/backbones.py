"""The backbones: a table of specifications, and how a backbone is built and loaded."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras

from fcam_tf.graphs import graph
from fcam_tf.graphs.layers import BATCH_MOMENTUM
from fcam_tf.models import pretrained
from fcam_tf.models.inceptionv3 import inceptionv3
from fcam_tf.models.preprocessing import CAFFE, LITE, SYMMETRIC, UNIT, Preprocessing
from fcam_tf.models.vgg16 import vgg16
from fcam_tf.names import PRETRAINED, lookup

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
OUTPUT_STRIDES = (8, 16, 32)


@dataclasses.dataclass(frozen=True)
class BackboneSpec:
    """Everything that distinguishes one backbone from another."""

    name: str  # what users type
    # From preprocessed images and an output stride to ``{"P1": ..., "P5": ...}``, P1 at half the
    # resolution, P5 the top. ``attend(name, x)`` may replace what the layers in ``attention`` and
    # ``sides`` give.
    build: Callable[..., dict[str, Any]]
    preprocessing: Preprocessing  # what the pretrained weights expect
    source: pretrained.Source  # of ``weights="imagenet"``
    output_stride: int = 8  # the default; the paper's
    licence: str = "Apache-2.0"  # of the pretrained weights
    # Prefixes of layers that train at the head's learning rate, ten times the others' (F-CAM,
    # section 4).
    fast_learners: tuple[str, ...] = ()
    # The same, and the head where it is among them, of a baseline by name where the benchmark's
    # code groups otherwise: by the names of its modules, in which some of them stand elsewhere.
    fast_by_baseline: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    decoder_filters: tuple[int, ...] = (256, 128, 64, 32, 16)  # of its blocks, the coarsest first
    # Whether the decoder starts with two convolutions of the top map, and takes no skips that are
    # as coarse (the paper's VGG16).
    decoder_center: bool = False
    attention: tuple[str, ...] = ()  # layers behind which a baseline may put some (ADL, section 4)
    sides: tuple[str, ...] = ()  # layers behind which SPG's branches B1 and B2 start
    # Channels of ACoL's branches, and of SPG's side and top branches.
    branch_filters: dict[str, int] = dataclasses.field(
        default_factory=lambda: {"acol": 1024, "spg_side": 512, "spg_top": 512}
    )
    # What a saved model remembers of a network that is in no table; see `fcam_tf.models.hub`.
    architecture: Mapping[str, Any] | None = None


def limit_strides(strides: list[int], stem: int, output_stride: int) -> list[int]:
    """Set strides to 1 from the point where their product would exceed ``output_stride``."""
    limited = []
    product = stem
    for stride in strides:
        limited.append(stride if product * stride <= output_stride else 1)
        product *= limited[-1]
    return limited


def _ours(copy: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Copy keras-cv's layers with our batch momentum, and padded by ``padding="same"``."""

    def replace(operation: Any) -> Any:
        if isinstance(operation, keras.layers.ZeroPadding2D):
            # Of odd sizes it pads one side only, and shifts the features.
            return lambda x: x
        layer = copy(operation)
        if isinstance(layer, _CONVOLUTIONS) and max(layer.strides) > 1:
            layer.padding = "same"
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = BATCH_MOMENTUM
        return layer

    return replace


def _keras_cv(
    class_name: str,  # of the base class: the aliases (``ResNet50Backbone``) need the network
    config: Mapping[str, Any],
    feature_maps: tuple[str, ...],  # layers whose outputs are P1 to P4
    *,
    stem: int = 2,  # stride before the first stage
    pools: Mapping[int, tuple[str, ...]] | None = None,
) -> Callable[..., dict[str, Any]]:
    """Return the build function of a keras-cv family; ``pools`` go where it takes no strides."""

    def build(
        images: Any, output_stride: int, attend: Callable[[str, Any], Any] = lambda _, x: x
    ) -> dict[str, Any]:
        import keras_cv  # noqa: PLC0415 - slow, and not needed by every backbone

        arguments = dict(config)
        for key in ("stackwise_strides", "stackwise_stride"):
            if key in arguments:
                arguments[key] = limit_strides(arguments[key], stem, output_stride)
        stock = getattr(keras_cv.models, class_name)(include_rescaling=False, **arguments)
        dropped = (pools or {}).get(output_stride, ())
        copy = _ours(graph.copy_layers())
        outputs = {}

        def replace(operation: Any) -> Any:
            if operation.name in dropped:
                return lambda x: x
            layer = copy(operation)

            def call(*args: Any, **kwargs: Any) -> Any:
                outputs[operation.name] = attend(operation.name, layer(*args, **kwargs))
                return outputs[operation.name]

            return call

        top = graph.replay(stock, images, replace)
        return {f"P{i + 1}": outputs[name] for i, name in enumerate(feature_maps)} | {"P5": top}

    return build


def _preset(class_name: str, handle: str) -> pretrained.Source:
    """Return the source of a keras-cv preset: a Kaggle handle, or a local preset folder."""

    def fetch(path: str | None) -> keras.Model:
        import keras_cv  # noqa: PLC0415

        return getattr(keras_cv.models, class_name).from_preset(path or handle)

    return pretrained.Source(handle, "keras-cv preset folder", fetch, pretrained.by_position)


_RESNET50 = {
    "stackwise_filters": [64, 128, 256, 512],
    "stackwise_blocks": [3, 4, 6, 3],
    "stackwise_strides": [1, 2, 2, 2],
}
_RESNET50_MAPS = (
    "conv1_relu",
    *(f"v2_stack_{i}_block{n}_out" for i, n in enumerate((3, 4, 6))),
)
_LITE = {
    "stackwise_kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
    "stackwise_num_repeats": [1, 2, 2, 3, 3, 4, 1],
    "stackwise_input_filters": [32, 16, 24, 40, 80, 112, 192],
    "stackwise_output_filters": [16, 24, 40, 80, 112, 192, 320],
    "stackwise_expansion_ratios": [1, 6, 6, 6, 6, 6, 6],
    "stackwise_strides": [1, 2, 2, 2, 1, 2, 1],
}
_EFFICIENTNETV2_B0 = {
    "width_coefficient": 1.0,
    "depth_coefficient": 1.0,
    "stackwise_kernel_sizes": [3] * 6,
    "stackwise_num_repeats": [1, 2, 2, 3, 5, 8],
    "stackwise_input_filters": [32, 16, 32, 48, 96, 112],
    "stackwise_output_filters": [16, 32, 48, 96, 112, 192],
    "stackwise_expansion_ratios": [1, 4, 4, 4, 6, 6],
    "stackwise_squeeze_and_excite_ratios": [0, 0, 0, 0.25, 0.25, 0.25],
    "stackwise_strides": [1, 2, 2, 2, 1, 2],
    "stackwise_conv_types": ["fused"] * 3 + ["unfused"] * 3,
}
_MOBILENET_V3_LARGE = {
    "stackwise_expansion": [1, 4, 3, 3, 3, 3, 6, 2.5, 2.3, 2.3, 6, 6, 6, 6, 6],
    "stackwise_filters": [16, 24, 24, 40, 40, 40, 80, 80, 80, 80, 112, 112, 160, 160, 160],
    "stackwise_kernel_size": [3, 3, 3, 5, 5, 5, 3, 3, 3, 3, 3, 3, 5, 5, 5],
    "stackwise_stride": [1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1],
    "stackwise_se_ratio": [None] * 3 + [0.25] * 3 + [None] * 4 + [0.25] * 5,
    "stackwise_activation": ["relu"] * 6 + ["hard_swish"] * 9,
}


def _efficientnet_lite(number: int, width: float = 1.0, depth: float = 1.0) -> BackboneSpec:
    """Return the specification of EfficientNet-Lite 0, 1, ..."""
    name = f"efficientnetlite_b{number}"
    repeats = [math.ceil(depth * n) for n in _LITE["stackwise_num_repeats"]]
    # The last block of stages 2 to 5, by its letter.
    second, third, fourth, fifth = ("abcdefgh"[n - 1] for n in repeats[1:5])
    return BackboneSpec(
        name,
        _keras_cv(
            "EfficientNetLiteBackbone",
            {"width_coefficient": width, "depth_coefficient": depth, **_LITE},
            (
                "block1a_project_bn",
                f"block2{second}_add",
                f"block3{third}_add",
                f"block5{fifth}_add",
            ),
        ),
        LITE,
        pretrained.efficientnet_lite(number, PRETRAINED[name]),
        output_stride=32,
        decoder_filters=(64, 48, 32, 24, 16),
        attention=("block5b_add", "block6b_add", "top_activation"),
        sides=(f"block4{fourth}_add", f"block5{fifth}_add"),
        branch_filters={"acol": 128, "spg_side": 128, "spg_top": 128},
    )


_SPECS = (
    BackboneSpec(
        "resnet50",
        _keras_cv("ResNetBackbone", _RESNET50, _RESNET50_MAPS, stem=4),
        UNIT,
        _preset("ResNetBackbone", "kaggle://keras/resnetv1/keras/resnet50_imagenet/2"),
        fast_learners=("v2_stack_3",),
        fast_by_baseline=dict.fromkeys(("acol", "spg"), ("v2_stack_3",)),
        attention=("v2_stack_2_block1_out", "v2_stack_3_block1_out", "v2_stack_3_block3_out"),
        sides=("v2_stack_2_block1_out", "v2_stack_2_block6_out"),
        branch_filters={"acol": 1024, "spg_side": 1024, "spg_top": 512},
    ),
    BackboneSpec(
        "vgg16",
        vgg16,
        CAFFE,
        pretrained.applications("VGG16", pretrained.by_name),
        licence="CC-BY-4.0",
        fast_learners=("conv6",),
        fast_by_baseline={"spg": ("block4_", "block5_", "conv6", pretrained.HEAD)},
        decoder_center=True,
        attention=("block3_pool", "block4_conv3", "block5_conv3"),
        sides=("block4_conv3", "block5_conv3"),
    ),
    BackboneSpec(
        "inceptionv3",
        inceptionv3,
        SYMMETRIC,
        pretrained.applications("InceptionV3", pretrained.by_order),
        fast_learners=("spg_a3",),
        attention=("mixed5d", "mixed6e", "spg_a3_2b"),
        sides=("mixed5d", "mixed6e"),
    ),
    _efficientnet_lite(0),
    _efficientnet_lite(1, depth=1.1),
    _efficientnet_lite(2, width=1.1, depth=1.2),
    BackboneSpec(
        "resnet50_v2",
        _keras_cv("ResNetV2Backbone", _RESNET50, ("conv1_conv", *_RESNET50_MAPS[1:]), stem=4),
        UNIT,
        _preset("ResNetV2Backbone", "kaggle://keras/resnetv2/keras/resnet50_v2_imagenet/2"),
        fast_learners=("v2_stack_3",),
    ),
    BackboneSpec(
        "densenet121",
        _keras_cv(
            "DenseNetBackbone",
            {"stackwise_num_repeats": [6, 12, 24, 16]},
            ("conv1_relu", *(f"conv{i}_block_{n}_concat" for i, n in ((2, 5), (3, 11), (4, 23)))),
            pools={8: ("pool3_pool", "pool4_pool"), 16: ("pool4_pool",)},
        ),
        UNIT,
        _preset("DenseNetBackbone", "kaggle://keras/densenet/keras/densenet121_imagenet/2"),
    ),
    BackboneSpec(
        "efficientnetv2_b0",
        _keras_cv(
            "EfficientNetV2Backbone",
            _EFFICIENTNETV2_B0,
            ("block1a_", "block2b_", "block3b_", "block5e_"),
        ),
        UNIT,
        _preset(
            "EfficientNetV2Backbone",
            "kaggle://keras/efficientnetv2/keras/efficientnetv2_b0_imagenet/2",
        ),
        output_stride=16,
    ),
    BackboneSpec(
        "mobilenet_v3_large",
        _keras_cv(
            "MobileNetV3Backbone",
            _MOBILENET_V3_LARGE,
            tuple(f"expanded_conv{i}_Add" for i in ("", "_2", "_5", "_11")),
        ),
        UNIT,
        _preset(
            "MobileNetV3Backbone", "kaggle://keras/mobilenetv3/keras/mobilenet_v3_large_imagenet/2"
        ),
        output_stride=16,
    ),
)

BACKBONES: Mapping[str, BackboneSpec] = {spec.name: spec for spec in _SPECS}


def get(name: str) -> BackboneSpec:
    """Return the specification of a backbone.

    Raises:
        ValueError: no backbone has this name; the message gives the nearest ones.
    """
    return lookup(BACKBONES, name, "backbone")
