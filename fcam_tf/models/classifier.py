"""The classifier whose evidence the maps show: backbone, global average pooling, linear head."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

import keras
import numpy as np

from fcam_tf.models import backbones
from fcam_tf.models.weights import HEAD


@contextlib.contextmanager
def layers_of(dtype: Any) -> Iterator[None]:
    """Make ``dtype`` the policy of the layers built meanwhile; None leaves the global one."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(before if dtype is None else dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@keras.saving.register_keras_serializable("fcam_tf")
class Classifier(keras.Model):
    """An image classifier as one flat functional graph (F-CAM's "WGAP" head).

    Input: raw RGB (B, H, W, 3) in [0, 255], any H and W, uint8 or float; what the pretrained
    weights expect is part of the graph. Output: logits (B, num_classes), float32 also under mixed
    precision. The model is compiled with SGD and softmax cross-entropy, so ``fit`` works at once.

    Args:
        backbone: a name in `fcam_tf.models.BACKBONES`.
        num_classes: number of classes; None keeps the 1000 ImageNet classes of the pretrained
            head, which only efficientnetlite_b0 has.
        output_stride: 8, 16 or 32 input pixels for one cell of the top map, or None for the
            backbone's default. Strides are removed without dilation, as the paper does; weights
            fit at every output stride.
        weights: "imagenet", a local copy of the source's files, a ``.weights.h5`` file that
            ``save_weights`` of the same model wrote, or None.
        class_names: names in the order of the labels; ImageNet's with its head.
        frozen: names of layers that do not train (what a saved model remembers).
        dtype: dtype policy of the layers, for instance "mixed_float16"; None for Keras's global
            one.
        name: name of the model.

    Attributes:
        taps: symbolic maps by level, ``"P1"`` at half the resolution to ``"P5"``, the top.
        class_names: tuple of str, or None.
        input_size: recommended size of the evaluated image, in pixels.

    Raises:
        ValueError: unknown backbone, impossible ``output_stride`` or ``num_classes``, or as many
            names as classes are not given.
        WeightsUnavailableError: the pretrained weights cannot be fetched or read.
    """

    input_size = 224

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
        frozen: Sequence[str] = (),
        dtype: Any = None,
        name: str | None = None,
    ) -> None:
        spec = backbones.get(backbone)
        output_stride = spec.output_stride if output_stride is None else output_stride
        if output_stride not in backbones.OUTPUT_STRIDES:
            raise ValueError(f"`output_stride` must be 8, 16 or 32. Received: {output_stride!r}.")
        pretrained_head = (
            weights is not None and spec.source.has_head and num_classes in (None, 1000)
        )
        if pretrained_head:
            num_classes = 1000
            class_names = self.imagenet_class_names() if class_names is None else class_names
        if not isinstance(num_classes, (int, np.integer)) or num_classes < 1:
            raise ValueError(
                f"`num_classes` must be a positive integer. Received: {num_classes!r}. None stands "
                f"for a pretrained head, and {backbone!r} with weights={weights!r} has none."
            )
        if class_names is not None and len(class_names) != num_classes:
            raise ValueError(
                f"`class_names` must hold one name for each of the {num_classes} classes. "
                f"Received: {len(class_names)} names."
            )

        with layers_of(dtype):
            images = keras.Input((None, None, 3), name="images")
            taps = spec.build(spec.preprocessing(images), output_stride)
            x = keras.layers.GlobalAveragePooling2D(dtype="float32", name="pooling")(taps["P5"])
            logits = keras.layers.Dense(int(num_classes), dtype="float32", name=HEAD)(x)
            super().__init__(images, logits, name=name or f"{backbone}_classifier")

        self.backbone = backbone
        self.num_classes = int(num_classes)
        self.output_stride = int(output_stride)
        self.class_names = None if class_names is None else tuple(class_names)
        self.taps = taps
        if weights is not None:
            spec.source.load(self, None if weights == "imagenet" else str(weights), backbone)
        for layer_name in frozen:
            self.get_layer(layer_name).trainable = False
        self.compile(
            optimizer=keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )

    def freeze(self, head: bool = True) -> None:
        """Stop training: batch statistics and dropout stay in inference mode in ``fit`` too.

        Holds from the next ``fit`` on, and through saving, loading and cloning.

        Args:
            head: also freeze the linear head; False leaves it to be trained on fixed features.
        """
        for layer in self.layers:
            if head or layer.name != HEAD:
                layer.trainable = False
        self.train_function = None  # else ``fit`` goes on with the step that it traced before

    def unfreeze(self) -> None:
        """Make every layer trainable again; compile again if ``fit`` ran on the frozen model."""
        for layer in self.layers:  # not `self`, which never was frozen, so nothing would happen
            layer.trainable = True
        self.train_function = None

    def get_config(self) -> dict[str, Any]:
        # Weights are restored by whoever loads, so building must not fetch any.
        return {
            "backbone": self.backbone,
            "num_classes": self.num_classes,
            "output_stride": self.output_stride,
            "weights": None,
            "class_names": self.class_names,
            "dtype": self.dtype_policy.name,
            "frozen": [layer.name for layer in self.layers if not layer.trainable],
            "name": self.name,
        }
