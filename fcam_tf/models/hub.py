"""keras-hub as a second source of backbones: its presets, and those of timm that it converts."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import keras

from fcam_tf.graphs import graph
from fcam_tf.graphs.layers import BATCH_MOMENTUM, FreezableDropout
from fcam_tf.models import pretrained
from fcam_tf.models.backbones import BackboneSpec, limit_strides
from fcam_tf.models.preprocessing import Preprocessing
from fcam_tf.names import HUB, error_text

_SIDE = 256  # halves cleanly, so that sizes tell strides
_TOP = 5  # level of the top map: a 32nd of the resolution, as these networks were trained
_ELSE = (
    "Backbones are convolutional networks; any other model is explained by fcam_tf.cams.get, and "
    "gets a decoder by fcam_tf.models.FCAM.from_classifier."
)
# Families whose strides stand in their configuration: under which name, and the stride before.
_STRIDES = {
    "ResNetBackbone": ("stackwise_num_strides", lambda config: 4),  # noqa: ARG005
    "EfficientNetBackbone": ("stackwise_strides", lambda config: 2),  # noqa: ARG005
    "MobileNetBackbone": (
        "stackwise_num_strides",
        lambda config: 2 * config["depthwise_stride"],
    ),
}


def spec_of(name: str, architecture: Mapping[str, Any] | None = None) -> BackboneSpec:
    """Return the specification of a backbone of keras-hub.

    Args:
        name: "keras_hub:" and a preset: one of keras-hub's names ("resnet_18_imagenet"), an address
            ("hf://timm/resnet18.a1_in1k") or a local folder.
        architecture: the network's configuration from a saved model, which then does not need the
            preset; None reads the preset.

    Raises:
        ImportError: keras-hub is not installed.
        WeightsUnavailableError: the preset cannot be read.
        ValueError: its network does not compute feature maps of an image.
    """
    preset = name.removeprefix(HUB)
    architecture = dict(architecture or _read(preset))

    def fetch(path: str | None) -> keras.Model:
        return _keras_hub().models.Backbone.from_preset(path or preset)

    return BackboneSpec(
        name,
        functools.partial(_build, name, architecture),
        Preprocessing(*(_number_or_three(architecture[key]) for key in ("scale", "offset"))),
        pretrained.Source(preset, "keras-hub preset folder", fetch, pretrained.by_position),
        output_stride=2**_TOP,
        licence="see the preset",
        architecture=architecture,
    )


def _keras_hub() -> Any:
    try:
        import keras_hub  # noqa: PLC0415 - slow, and an extra
    except ImportError as error:
        raise ImportError(
            f"backbones named {HUB}... need keras-hub: pip install 'fcam_tf[hub]' ({error})"
        ) from error
    return keras_hub


def _read(preset: str) -> dict[str, Any]:
    """Return what a preset says of its network and of its pixels, as JSON has it."""
    hub = _keras_hub()
    try:
        stock = hub.models.Backbone.from_preset(preset, load_weights=False)
        converter = hub.layers.ImageConverter.from_preset(preset)
    # Hubs and files fail in ways that no list of exceptions covers.
    except Exception as error:
        raise pretrained.WeightsUnavailableError(
            f"`backbone` is a preset that keras-hub cannot read: {preset!r} "
            f"({type(error).__name__}: {' '.join(error_text(error).split())}). Where its hub "
            f"cannot be reached, fetch the preset elsewhere and name its folder: {HUB}FOLDER. A "
            "folder needs an image converter, too, which says what the network expects of pixels: "
            "keras_hub.layers.ImageConverter(scale=1 / 255).save_to_preset(FOLDER)."
        ) from error
    if converter is None:  # a file of timm's that says nothing of it
        raise ValueError(f"`backbone`: the preset {preset!r} does not say how pixels are scaled.")
    config = stock.get_config()
    if isinstance(stock, hub.models.EfficientNetBackbone):
        # keras-hub forgets it; the channels of the top are as many times the last width.
        width = stock.stackwise_width_coefficients[-1]
        config.setdefault("num_features", round(stock.output.shape[-1] / width))
    return {
        "class_name": type(stock).__name__,
        "config": {k: v for k, v in config.items() if k not in ("name", "trainable", "dtype")},
        "scale": 1.0 if converter.scale is None else converter.scale,
        "offset": 0.0 if converter.offset is None else converter.offset,
    }


def _number_or_three(value: Any) -> Any:
    return tuple(map(float, value)) if isinstance(value, list | tuple) else float(value)


def _build(
    name: str, architecture: Mapping[str, Any], images: Any, output_stride: int, _: Any = None
) -> dict[str, Any]:
    """Build the network; see `BackboneSpec.build`. Levels that it does not have are left out."""
    stock = _stock(name, architecture, 2**_TOP)
    levels = _levels(name, stock)
    if output_stride < 2**_TOP:
        stock = _stock(name, architecture, output_stride)
    copy = graph.copy_layers()
    outputs = {}

    def replace(operation: Any) -> Any:
        layer = _ours(operation, copy)

        def call(*args: Any, **kwargs: Any) -> Any:
            outputs[operation.name] = layer(*args, **kwargs)
            return outputs[operation.name]

        return call

    top = graph.replay(stock, images, replace)
    return {f"P{n}": outputs[levels[n]] for n in range(1, _TOP) if n in levels} | {f"P{_TOP}": top}


def _stock(name: str, architecture: Mapping[str, Any], output_stride: int) -> Any:
    """Return keras-hub's network, without weights, for images of any size."""
    models = _keras_hub().models
    kind = architecture["class_name"]
    cls: Any = getattr(models, kind, None)
    if cls not in models.Backbone.__subclasses__() + models.FeaturePyramidBackbone.__subclasses__():
        raise ValueError(f"`backbone` {name!r} is of a class that keras-hub lacks: {kind!r}.")
    config = dict(architecture["config"])
    for key in ("image_shape", "input_shape"):
        if key in config:
            config[key] = (None, None, 3)
    if output_stride < 2**_TOP:
        if kind not in _STRIDES:
            raise ValueError(
                f"`output_stride` of {name!r} must be {2**_TOP}: of keras-hub's networks, "
                f"{', '.join(_STRIDES)} can do with fewer strides. Received: {output_stride}."
            )
        key, stem = _STRIDES[kind]
        strides = keras.tree.flatten(config[key])  # MobileNet's are nested
        limited = limit_strides(strides, stem(config), output_stride)
        config[key] = keras.tree.pack_sequence_as(config[key], limited)
    try:
        return cls.from_config(config)
    except ValueError as error:  # of transformers with a fixed grid
        raise ValueError(
            f"`backbone` {name!r} cannot be built for images of any size ({error}). {_ELSE}"
        ) from error


def _levels(name: str, stock: Any) -> dict[int, str]:
    """Return the names of the operations whose outputs are the maps of each level but the top.

    They are keras-hub's own ``pyramid_outputs``; of a level that it does not name, the last map of
    exactly that resolution.
    """
    steps = graph.steps(stock)
    made = [(step.operation.name, x) for step in steps for x in step.outputs if len(x.shape) == 4]
    example = keras.KerasTensor((1, _SIDE, _SIDE, 3))
    flat = keras.Model(stock.inputs, [x for _, x in made]) if made else None
    specs = keras.tree.flatten(flat.compute_output_spec(example)) if flat else []
    shapes = {id(x): spec.shape[1:3] for (_, x), spec in zip(made, specs, strict=True)}

    by_size: dict[Any, int] = {(_SIDE >> n, _SIDE >> n): n for n in range(1, _TOP + 1)}

    def level(x: Any) -> int | None:
        return by_size.get(shapes.get(id(x), ()))

    if level(stock.output) != _TOP:
        raise ValueError(
            f"`backbone` {name!r} does not end in a map of a 32nd of the image's size. {_ELSE}"
        )
    pyramid = {id(x) for x in getattr(stock, "pyramid_outputs", {}).values()}
    found = {level(x): each for each, x in made}
    found |= {level(x): each for each, x in made if id(x) in pyramid}
    return {n: each for n, each in found.items() if n is not None}


def _ours(operation: Any, copy: Any) -> Any:
    """Copy Keras's own layers; of keras-hub's blocks, only let dropout stay off while frozen."""
    layers = []
    if type(operation).__module__.startswith("keras."):
        operation = copy(operation)
    if isinstance(operation, keras.layers.Layer):
        layers = operation._flatten_layers()  # noqa: SLF001 - Keras names no public way
    for layer in layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = BATCH_MOMENTUM
        elif type(layer) is keras.layers.Dropout:
            layer.__class__ = FreezableDropout  # which only adds to it
    return operation
