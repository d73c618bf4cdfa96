"""FullGrad: what the image and the biases of all layers contribute to a logit."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from fcam_tf.cams import autodiff
from fcam_tf.cams.base import CAM
from fcam_tf.cams.split_classifier import chosen_classes
from fcam_tf.graphs import graph
from fcam_tf.graphs.resize import resize

L = keras.layers
_WITH_BIAS = (L.Dense, L.Conv2D, L.DepthwiseConv2D, L.SeparableConv2D, L.Conv2DTranspose)
_BY_CHANNEL = (L.BatchNormalization, L.Rescaling, L.Normalization)
_SCALE = 256.0  # a float16 gradient would vanish in early layers


class FullGrad(CAM):
    """FullGrad (Srinivas and Fleuret, NeurIPS 2019).

    ``M = psi(grad_x * x) + sum_l sum_c psi(grad_z * b)_c``, where z is a layer's output before its
    activation, and b its bias. The bias of batch normalisation is beta - gamma mean / std; the bias
    of a Rescaling layer is its offset. psi takes absolute values, stretches those of a layer, all
    cells and channels together, to [0, 1] and scales them to the image, as in the authors' code
    (idiap/fullgrad-saliency); pixels have half-pixel centres here. Biases after the pooling have no
    map and are left out. Maps have the size of the image. The whole model is differentiated, which
    costs several forward passes.

    In a network of such layers, pooling, sums and ReLUs, the terms of `parts` and the bias of the
    logit add up to the logit. Constants that operations add, and other nonlinear functions, leave a
    remainder.

    Raises:
        ValueError: a ``layer`` is given (FullGrad has none to choose), or the bias of a layer with
            weights is not known.
    """

    name = "fullgrad"

    def __init__(self, model: keras.Model, layer: Any = None, **options: Any) -> None:
        super().__init__(model, layer, **options)
        if layer is not None:
            raise ValueError(
                f"`layer` must be left out: 'fullgrad' takes all layers. Received: {layer!r}."
            )
        self.layers = ()
        if len(self.split.inputs) > 1:
            raise ValueError("'fullgrad' needs a model of images alone. Choose another method.")
        images = self.split.images
        self._noted: list[tuple[Any, Any]] = []  # layer, and what it gives before its activation
        self._views: dict[int, Any] = {}
        inputs = keras.Input(batch_shape=images.shape, dtype=images.dtype)
        scored = graph.replay(keras.Model(images, self.split.scored), inputs, self._noting)
        self._model = keras.Model(
            inputs, [*(z for _, z in self._noted), *keras.tree.flatten(scored)]
        )

    def parts(self, images: Any, labels: Any) -> tuple[list[Any], Any]:
        """Return the terms (B, ...) of the image and of each bias, float32, and the logits."""

        def score() -> tuple[list[Any], Any, Any]:
            values = keras.tree.flatten(self._model(images, training=False))
            maps, scored = values[: len(self._noted)], values[len(self._noted) :]
            logits = self.split.logits_of(scored)
            chosen = chosen_classes(labels, logits)
            picked = ops.take_along_axis(logits, chosen[:, None], axis=1)[:, 0]
            return [images, *maps], picked * _SCALE, logits

        _, gradients, logits = autodiff.gradients(score, images)
        factors = [images, *(_bias(layer, z.shape) for layer, z in self._noted)]
        terms = [
            ops.cast(g, "float32") / _SCALE * ops.cast(factor, "float32")
            for g, factor in zip(gradients, factors, strict=True)
        ]
        return terms, logits

    def raw_maps(self, images: Any, labels: Any) -> tuple[Any, Any]:
        terms, logits = self.parts(images, labels)
        size = ops.shape(images)[1:3]
        maps = 0.0
        for term in terms:
            if len(term.shape) == 4:
                a = ops.abs(term)
                low = ops.min(a, axis=(1, 2, 3), keepdims=True)
                span = ops.max(a, axis=(1, 2, 3), keepdims=True) - low
                a = (a - low) / ops.where(span > 0, span, 1.0)
                maps += resize(ops.sum(a, axis=-1, keepdims=True), size)[..., 0]
        return maps, logits

    def _noting(self, operation: Any) -> Any:
        """Return what takes the place of an operation: it notes z, and then activates it."""
        by_channel = isinstance(operation, _BY_CHANNEL)
        if not by_channel:
            if not getattr(operation, "weights", None):
                return operation
            known = isinstance(operation, _WITH_BIAS) and type(operation).__module__.startswith(
                "keras."
            )
            if not known:
                raise ValueError(
                    f"'fullgrad' does not know the bias of the layer {operation.name!r} "
                    f"({type(operation).__name__}). Choose another method, such as 'layercam'."
                )
            if operation.bias is None:
                return operation
        linear = {} if by_channel else {"activation": keras.activations.linear}
        if id(operation) not in self._views:
            self._views[id(operation)] = graph.view(operation, **linear)
        view = self._views[id(operation)]

        def call(*args: Any, **kwargs: Any) -> Any:
            z = view(*args, **kwargs)
            self._noted.append((operation, z))
            return z if by_channel else L.Activation(operation.activation)(z)

        return call


def _bias(layer: Any, shape: tuple[int | None, ...]) -> Any:
    if isinstance(layer, _BY_CHANNEL):  # affine: the bias is what it makes of zero
        return layer(ops.zeros((*(1,) * (len(shape) - 1), shape[-1])))
    return layer.bias
