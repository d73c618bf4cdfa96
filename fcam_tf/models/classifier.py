"""The classifier that the maps explain: backbone, global average pooling, linear head."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

import keras
import numpy as np
from keras import ops

from fcam_tf import baselines, checks
from fcam_tf.cams import HeadClassMap
from fcam_tf.graphs import graph
from fcam_tf.graphs.ranges import expect_raw_pixels
from fcam_tf.graphs.replicas import mean_over_replicas, replicas
from fcam_tf.models import backbones, hub
from fcam_tf.models.pretrained import ATTENTION, HEAD
from fcam_tf.names import HUB


@contextlib.contextmanager
def layers_of(dtype: Any) -> Iterator[None]:
    """Build layers in this context with the policy ``dtype``; None keeps the global one."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(before if dtype is None else dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@keras.saving.register_keras_serializable("fcam_tf")
class Classifier(keras.Model):
    """An image classifier as one flat functional graph (F-CAM's "WGAP" head).

    Input: raw RGB (B, H, W, 3) in [0, 255], any H and W, uint8 or float; the preprocessing that the
    pretrained weights expect is part of the graph. Output: logits (B, num_classes), float32 also
    under mixed precision. The model is compiled with SGD and softmax cross-entropy, so ``fit``
    works at once, on batches (image, label).

    Args:
        backbone: a name in `fcam_tf.models.BACKBONES`, or a preset of keras-hub (the extra "hub"):
            "keras_hub:resnet_18_imagenet", "keras_hub:hf://timm/resnet18.a1_in1k" or
            "keras_hub:FOLDER".
        num_classes: number of classes; None keeps the 1000 ImageNet classes of the pretrained
            head, which efficientnetlite_b0, _b1 and _b2 have.
        output_stride: 8, 16 or 32 input pixels for one cell of the top map, or None for the
            backbone's default. Strides are removed without dilation, as in the paper; weights fit
            at every output stride.
        weights: "imagenet", a local copy of the source's files, a ``.weights.h5`` file that
            ``save_weights`` of the same model wrote, or None. For a preset, "imagenet" means the
            preset's own weights, whatever they were trained on.
        class_names: names in the order of the labels; ImageNet's if the ImageNet head is kept.
        baseline: a training method that improves localisation, a name in
            `fcam_tf.baselines.METHODS`. "adl", "acol", "spg" and "icl" change network and loss.
            "has" and "cutmix" change the batches: use ``dataset.map(classifier.baseline.augment)``.
        options: hyper-parameters of the baseline.
        frozen: names of layers that do not train (saved models contain them).
        architecture: that of a preset's network (saved models contain it).
        input_size: side of the square that evaluated images are resized to, in pixels; training
            sets it to the size that it crops to.
        dtype: dtype policy of the layers, for instance "mixed_float16"; None for Keras's global
            one.
        name: name of the model.

    Attributes, beside most of the arguments:
        feature_maps: symbolic maps by level, ``"P1"`` at half the resolution to ``"P5"``, the top.
        zero_colour: the colour that becomes zero before the first layer with weights, RGB in [0,
            255].
        baseline: a `fcam_tf.baselines.Baseline`; the default changes nothing.

    Raises:
        ValueError: the backbone, baseline or an option is unknown, the baseline does not support
            the backbone, ``output_stride`` or ``num_classes`` is impossible, or the numbers of
            names and of classes differ.
        WeightsUnavailableError: the pretrained weights cannot be fetched or read.

    Examples:
        >>> model = fcam_tf.models.Classifier("efficientnetlite_b0", num_classes=3, weights=None)
        >>> model(images).shape
        TensorShape([2, 3])
        >>> sorted(model.feature_maps)
        ['P1', 'P2', 'P3', 'P4', 'P5']
    """

    infers_by_graph = True  # `call` adds outputs in training only

    @staticmethod
    def imagenet_class_names() -> list[str]:
        """Return the names of the 1000 ImageNet classes in the order of their labels."""
        file = resources.files("fcam_tf.models").joinpath("imagenet_class_names.txt")
        return file.read_text("utf-8").splitlines()

    def __init__(
        self,
        backbone: str,
        num_classes: int | None = None,
        *,
        output_stride: int | None = None,
        weights: str | None = "imagenet",
        class_names: Sequence[str] | None = None,
        baseline: str | None = None,
        options: Mapping[str, Any] | None = None,
        frozen: Sequence[str] = (),
        architecture: Mapping[str, Any] | None = None,
        input_size: int = 224,
        dtype: Any = None,
        name: str | None = None,
    ) -> None:
        if isinstance(backbone, str) and backbone.startswith(HUB):
            spec = hub.spec_of(backbone, architecture)
        else:
            spec = backbones.get(backbone)
        method = baselines.get(baseline, **(options or {})) if baseline else baselines.Baseline()
        output_stride = spec.output_stride if output_stride is None else output_stride
        if output_stride not in backbones.OUTPUT_STRIDES:
            raise ValueError(f"`output_stride` must be 8, 16 or 32. Received: {output_stride!r}.")
        has_head = weights is not None and spec.source.has_head and method.cam is not HeadClassMap
        if has_head and num_classes in (None, 1000):
            num_classes = 1000
            class_names = self.imagenet_class_names() if class_names is None else class_names
        if not isinstance(num_classes, (int, np.integer)) or num_classes < 1:
            raise ValueError(
                f"`num_classes` must be a positive integer. Received: {num_classes!r}. None stands "
                f"for a pretrained head, and {backbone!r} with weights={weights!r} has none."
            )
        class_names = checks.class_names(class_names, num_classes)

        with layers_of(dtype):
            images = keras.Input((None, None, 3), name="images")
            feature_maps, maps = _feature_maps(
                spec, spec.preprocessing(images), output_stride, method
            )
            outputs, head = _head(spec, method, maps, int(num_classes))
            super().__init__(images, outputs[0], name=name or _name(backbone))
        # What only the loss of a baseline's head needs.
        self._hidden = graph.Untracked(
            head=head,
            training=head and keras.Model(images, {"maps": maps, "outputs": outputs}),
        )
        self.spec = spec
        self.baseline = method
        self.backbone = backbone
        self.num_classes = int(num_classes)
        self.input_size = int(input_size)
        self.output_stride = int(output_stride)
        self.class_names = class_names
        self.feature_maps = feature_maps
        self.zero_colour = spec.preprocessing.zero_colour
        if weights is not None:
            spec.source.load(self, None if weights == "imagenet" else str(weights), backbone)
        for layer_name in frozen:
            self.get_layer(layer_name).trainable = False
        self.compile(
            # Named, or it is numbered: TensorFlow keeps 36 kB of each new name of a variable.
            optimizer=keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True, name="sgd"),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if training and self._hidden.training:
            return self._hidden.training(inputs, training=True)
        return super().call(inputs, training=training, mask=mask)

    @property
    def losses(self) -> list[Any]:
        """The layers' own losses, in the dtype of the compiled loss because Keras stacks them."""
        return [ops.cast(loss, keras.config.floatx()) for loss in super().losses]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Compute the compiled loss of the logits, plus the baseline head's loss in training.

        Labels are (B,) int, or CutMix's ``{"label", "other", "fraction"}``.
        """
        expect_raw_pixels(x)
        logits = _logits(y_pred)
        if sample_weight is not None:
            sample_weight = ops.reshape(ops.cast(sample_weight, "float32"), (-1,))
        if isinstance(y, Mapping):
            # One batch of twice the size: what layers add to the loss is then added once.
            weights = ops.concatenate([y["fraction"], 1.0 - y["fraction"]]) * 2.0
            if sample_weight is not None:
                weights = weights * ops.tile(sample_weight, 2)
            labels = ops.concatenate([y["label"], y["other"]])
            return super().compute_loss(x, labels, ops.tile(logits, (2, 1)), weights, training)
        total = super().compute_loss(x, y, logits, sample_weight, training)
        if isinstance(y_pred, Mapping):
            labels = ops.cast(ops.reshape(y, (-1,)), "int32")
            values = self._hidden.head.losses_of(y_pred["maps"], y_pred["outputs"][1:], labels)
            if sample_weight is not None:
                values = values * sample_weight
            # Divided, since gradients of replicas are added up.
            total += ops.cast(mean_over_replicas(values) / replicas(), total.dtype)
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        labels = y["label"] if isinstance(y, Mapping) else y
        return super().compute_metrics(x, labels, _logits(y_pred), sample_weight)

    def copy(self, dtype: str | None = None) -> Classifier:
        """Return an independent model with the same weights and the same frozen layers.

        Args:
            dtype: dtype policy of the copy's layers; None keeps this model's.
        """
        config = self.get_config()
        model = Classifier.from_config({**config, "dtype": dtype or config["dtype"]})
        model.set_weights(self.get_weights())
        return model

    def freeze(self, head: bool = True) -> None:
        """Freeze the layers; batch statistics and dropout stay in inference mode during ``fit``.

        This holds from the next ``fit`` on, and is kept by saving, loading and cloning.

        Args:
            head: whether to freeze the head, too, and the layers that a baseline put into the
                backbone; False lets them train on fixed features.
        """
        for layer in self.layers:
            if head or not (layer.name == HEAD or layer.name.startswith(ATTENTION)):
                layer.trainable = False
        self.train_function = None  # else ``fit`` goes on with the step that it traced before

    def unfreeze(self) -> None:
        """Make every layer trainable again; compile again if ``fit`` ran on the frozen model."""
        for layer in self.layers:  # not `self`, which never was frozen, so nothing would happen
            layer.trainable = True
        self.train_function = None

    def get_config(self) -> dict[str, Any]:
        # Weights are restored by whoever loads, so building must not fetch any.
        remembered = {"architecture": self.spec.architecture} if self.spec.architecture else {}
        return remembered | {
            "backbone": self.backbone,
            "num_classes": self.num_classes,
            "output_stride": self.output_stride,
            "weights": None,
            "class_names": self.class_names,
            "baseline": self.baseline.name or None,
            "options": dataclasses.asdict(self.baseline),
            "input_size": self.input_size,
            "dtype": self.dtype_policy.name,
            "frozen": [layer.name for layer in self.layers if not layer.trainable],
            "name": self.name,
        }


def _feature_maps(
    spec: backbones.BackboneSpec, images: Any, output_stride: int, method: baselines.Baseline
) -> tuple[dict[str, Any], list[Any]]:
    """Build the backbone; return its feature maps, and those a head is called on, the top last."""
    attentions, sides = [], {}

    def attend(name: str, x: Any) -> Any:
        layer = None
        if name in spec.attention:
            layer = method.attention(f"{ATTENTION}{spec.attention.index(name) + 1}")
        if layer is not None:
            x = layer(x)
            if isinstance(x, list):
                x, attention = x
                attentions.append(attention)
        if name in spec.sides:
            sides[name] = x
        return x

    if method.name and not method.augments and not spec.attention:
        known = [name for name, other in backbones.BACKBONES.items() if other.attention]
        raise ValueError(
            f"`baseline` {method.name!r} is not set up for {spec.name!r}. Available backbones: "
            f"{', '.join(known)}."
        )
    feature_maps = spec.build(images, output_stride, attend)
    feature_maps["P5"] = method.top(feature_maps["P5"], attentions)
    return feature_maps, [*(sides[name] for name in spec.sides), feature_maps["P5"]]


def _head(
    spec: backbones.BackboneSpec, method: baselines.Baseline, maps: list[Any], classes: int
) -> tuple[list[Any], Any]:
    """Build the head; return its outputs, the logits first, and the layer if it is a baseline's."""
    if method.cam is HeadClassMap:
        head = method.head(classes, spec.branch_filters, HEAD)
        return head(maps), head
    x = keras.layers.GlobalAveragePooling2D(dtype="float32", name="pooling")(maps[-1])
    return [keras.layers.Dense(classes, dtype="float32", name=HEAD)(x)], None


def _name(backbone: str) -> str:
    """Return a name that Keras takes for the classifier of a backbone, perhaps a preset's."""
    preset = PurePosixPath(backbone.removeprefix(HUB)).name
    return f"{re.sub(r'[^a-zA-Z0-9]+', '_', preset)}_classifier"


def _logits(outputs: Any) -> Any:
    return outputs["outputs"][0] if isinstance(outputs, Mapping) else outputs
