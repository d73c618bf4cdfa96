"""The U-Net decoder: from the top map and the finer maps below it to full resolution."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from fcam_tf.graphs.layers import BATCH_MOMENTUM, BatchNormalization
from fcam_tf.graphs.replicas import replicas
from fcam_tf.graphs.resize import bilinear_aligned
from fcam_tf.models import backbones
from fcam_tf.models.classifier import Classifier, layers_of
from fcam_tf.models.pyramid import skips_of

L = keras.layers
_PREFIX = "decoder"
_NAMES = re.compile(rf"fcam|{_PREFIX}_head|{_PREFIX}_(center|block\d+)_\w+")


@keras.saving.register_keras_serializable("fcam_tf")
class MatchSize(keras.layers.Layer):
    """Scale the first of two maps to the height and width of the second.

    The scaling is bilinear with aligned corners, as in the decoder of F-CAM. Maps that already fit
    pass unchanged. Takes [(B, h, w, C), (B, H, W, any)] and gives (B, H, W, C).
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x, reference = inputs
        size = ops.shape(reference)[1:3]
        now = ops.shape(x)[1:3]

        def scaled() -> Any:
            return ops.cast(bilinear_aligned(x, size), x.dtype)

        if all(isinstance(side, int) for side in (*now, *size)):
            return x if now == size else scaled()
        if not training:
            # Scaling by one is exact and, without a gradient, as cheap as a copy. OpenVINO gives
            # back memory that nobody wrote for a conditional that passes its input on.
            return scaled()
        fits = ops.all(ops.equal(ops.stack(now), ops.stack(size)))
        return ops.cond(fits, lambda: x, scaled)

    def compute_output_shape(self, input_shape: Any) -> Any:
        x, reference = input_shape
        return (x[0], *reference[1:3], x[3])


def object_map(
    classifier: keras.Model, top: Any, filters: Sequence[int] | None
) -> tuple[dict[str, Any], Any, tuple[int, ...]]:
    """Put a decoder on top of a classifier's map; ``filters`` are the decoder_filters of `FCAM`.

    Returns the classifier's symbolic maps by level, the logits (B, h, w, 2) of background and
    object, and the channels of the decoder's blocks.
    """
    _check_names(classifier)
    spec = classifier.spec if isinstance(classifier, Classifier) else None
    feature_maps, skips = skips_of(classifier, top, spec)
    blocks = len(skips) + 1
    if filters is None:
        filters = (spec or backbones.BackboneSpec).decoder_filters[:blocks]
    if filters and (len(filters) != blocks or min(filters) < 1):
        raise ValueError(
            f"`decoder_filters` must give the channels of the decoder's {blocks} blocks, or "
            f"none for a linear one. Received: {filters!r}."
        )
    with layers_of(classifier.dtype_policy if spec else None):
        x = top
        if filters:
            x = decoder(x, skips, filters, center=spec is not None and spec.decoder_center)
        kernel = 3 if filters else 1
        head = L.Conv2D(2, kernel, padding="same", dtype="float32", name=f"{_PREFIX}_head")
        return feature_maps, head(x), tuple(filters)


def decoder(
    top: Any, skips: Sequence[tuple[Any, bool]], filters: Sequence[int], *, center: bool = False
) -> Any:
    """Build the decoder (F-CAM, supplement, Table 2).

    A block doubles the size (nearest), fits it to its skip (bilinear, aligned corners),
    concatenates the two and convolves twice: 3x3 without bias, batch normalisation, ReLU. If the
    skip is as coarse as the map, doubling and fitting would cancel out, and neither is done.

    Args:
        top: symbolic (B, h, w, C).
        skips: for each block except the last, its skip, symbolic (B, h', w', C'), and whether the
            skip is finer than the map that it joins.
        filters: channels of each block, one more than there are skips. The last block doubles.
        center: whether to convolve the top map twice first, at its own width, as the paper does for
            VGG16.

    Returns:
        Symbolic (B, H, W, filters[-1]).
    """
    x = top
    if center:
        x = _convolve(x, int(top.shape[-1]), f"{_PREFIX}_center")
    for i, ((skip, finer), width) in enumerate(zip([*skips, (None, True)], filters, strict=True)):
        name = f"{_PREFIX}_block{i + 1}"
        if finer:
            x = L.UpSampling2D(2, name=f"{name}_double")(x)
        if skip is not None:
            if finer:
                x = MatchSize(name=f"{name}_fit")([x, skip])
            x = L.Concatenate(name=f"{name}_concat")([x, skip])
        x = _convolve(x, width, name)
    return x


def _convolve(x: Any, width: int, name: str) -> Any:
    for i in (1, 2):
        x = L.Conv2D(
            width,
            3,
            padding="same",
            use_bias=False,
            kernel_initializer="he_uniform",
            name=f"{name}_conv{i}",
        )(x)
        x = BatchNormalization(
            momentum=BATCH_MOMENTUM,
            epsilon=1e-5,
            synchronized=replicas() > 1,
            name=f"{name}_bn{i}",
        )(x)
        x = L.ReLU(name=f"{name}_relu{i}")(x)
    return x


def _check_names(classifier: keras.Model) -> None:
    """Refuse layers that are named as the decoder's will be: Keras wants each name once."""
    taken = [layer.name for layer in classifier.layers if _NAMES.fullmatch(layer.name)]
    if taken:
        raise ValueError(
            f"`classifier` has layers with names of the decoder: {', '.join(taken)}. Rename them, "
            "by keras.models.clone_model(classifier, clone_function=...) and set_weights."
        )
