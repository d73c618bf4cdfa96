"""What all CAM methods share: from images and labels to normalised maps."""

from __future__ import annotations

import abc
import contextlib
import numbers
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from fcam_tf import checks
from fcam_tf.cams import autodiff
from fcam_tf.cams.interface import Options
from fcam_tf.cams.preprocessing import TaskPreprocessing
from fcam_tf.cams.split_classifier import SplitClassifier, chosen_classes
from fcam_tf.graphs.resize import resize
from fcam_tf.localization import class_numbers
from fcam_tf.names import pixels, shortened


def normalize(maps: Any) -> Any:
    """Stretch each map to [0, 1] (min-max at its own, low resolution).

    Args:
        maps: (B, h, w), or (B, h, w, C), where each channel is stretched separately.

    Returns:
        The same shape, float32. A constant map, or one that contains NaN or infinity, gives zeros.
    """
    maps = ops.cast(maps, "float32")
    low = ops.min(maps, axis=(1, 2), keepdims=True)
    span = ops.max(maps, axis=(1, 2), keepdims=True) - low
    usable = ops.isfinite(span) & (span > 0)
    return ops.where(usable, (maps - low) / ops.where(usable, span, 1.0), 0.0)


def weighted_sum(weights: Any, activations: Any) -> Any:
    """Sum weights * activations over channels, (B, h, w); NaN and infinite terms are left out.

    Dead channels have undefined weights in several methods (0 / 0).
    """
    product = weights * activations
    return ops.sum(ops.where(ops.isfinite(product), product, 0.0), axis=-1)


def _is_numeric(images: Any) -> bool:
    """Tell arrays, and lists of arrays or numbers, from what only some backends take: pictures."""
    leaves = keras.tree.flatten(images)
    return all(hasattr(leaf, "shape") or isinstance(leaf, numbers.Real) for leaf in leaves)


class CAM(abc.ABC):
    """A class activation map of a Keras classifier.

    Args:
        model: any functional or sequential Keras classifier that returns one tensor (B, classes) of
            logits or probabilities. It may contain nested models.
        layer: the feature map to weight: a layer, its name, or a level ("P4") of this package's
            models. None takes the last map before the head, the top map, as the papers do. The map
            may be tokens (batch, tokens, channels); class and register tokens are dropped.
            docs/models.md says which tokens None takes.
        relu: whether to apply the ReLU that ends the formula of most methods. False also shows
            evidence against the class: after normalisation, 0 is the strongest evidence against it,
            and a cell without evidence is between 0 and 1. Methods whose formula does not end in a
            ReLU give the same map either way.
        scales: sizes at which the images are explained, relative to their own size; 1 must be among
            them. The normalised maps are scaled to the finest one and averaged, and the mean is
            stretched to [0, 1].
        flip: whether to explain mirrored images, too, and average their maps with the others.
            Logits and the predicted class are those of the original images.
        image_input: name of the image input if there are several inputs; None takes the only one
            with four axes.
        output: name or position of the class scores if there are several outputs.
        score: what to explain instead of a class: a function that maps the outputs (or the one that
            ``output`` names), before a final softmax or sigmoid, to one number per image, (B,); see
            `fcam_tf.cams.scores`. The model then counts as having one class, whose logit is the
            score, and may have any outputs.
        grid: (height, width) of the tokens, if their number does not determine it.

    Attributes:
        layers: names of the feature maps that are weighted.

    Raises:
        TypeError: ``model`` is a subclassed model without a functional graph.
        ValueError: there is no such layer, or the method cannot explain this model.
    """

    name: ClassVar[str]
    fuses: ClassVar[bool] = False  # whether several layers make one map

    def __init__(
        self,
        model: keras.Model,
        layer: Any = None,
        *,
        relu: bool = True,
        scales: Sequence[float] = (1,),
        flip: bool = False,
        **interface: Any,
    ) -> None:
        if keras.config.image_data_format() != "channels_last":
            raise ValueError(
                "class activation maps need channels_last images. Received: "
                f"keras.config.image_data_format()={keras.config.image_data_format()!r}."
            )
        layers = layer if isinstance(layer, (list, tuple)) else [layer]
        if len(layers) > 1 and not self.fuses:
            raise ValueError(
                f"`layer` must be one layer: {self.name!r} does not fuse several, as 'layercam' "
                f"does. Received: {layer!r}."
            )
        self.split = SplitClassifier(
            model, [x for x in layers if x is not None], Options(**interface)
        )
        self._preprocessing = TaskPreprocessing(model)
        self.layers: tuple[str, ...] = self.split.layers
        self.relu = bool(relu)
        self.scales = tuple(scales)
        self.flip = bool(flip)
        self._check_scales()
        self._compiled = autodiff.compiled(self.normalized_maps)

    @property
    def needs_only_features(self) -> bool:
        """Whether `from_features` can compute the maps without another pass."""
        return False

    def from_features(self, features: Any, labels: Any, logits: Any) -> Any:
        """Compute the maps from features that a model has already computed.

        Takes the feature map (B, h, w, C), labels as in `raw_maps`, and logits (B, classes);
        returns the same as a call. Methods without `needs_only_features` raise NotImplementedError.
        """
        raise NotImplementedError(f"{self.name!r} needs more than the feature map of this model.")

    @abc.abstractmethod
    def raw_maps(self, images: Any, labels: Any) -> tuple[Any, Any]:
        """Return the maps before normalisation, (B, h, w), and the logits (B, classes).

        Args:
            images: (B, H, W, channels).
            labels: (B,) int32; negative for the predicted class.
        """

    def __call__(self, images: Any, labels: Any = None) -> Any:
        """Compute the maps of a batch.

        Args:
            images: (B, H, W, channels) in the range that the model takes; uint8 or float. Raw
                photos of any size for a keras-hub task with a preprocessor. All inputs of a model
                that has several, in a list or by name, as ``model.predict`` takes them.
            labels: (B,) int, the classes to explain, -1 for the predicted one; one int for all;
                None for the predicted ones.

        Returns:
            (B, h, w) float32 in [0, 1] at the resolution of the feature map.

        Raises:
            ValueError: no image, wrong rank or number of channels, or a label that is not a class.
        """
        return self.maps_and_logits(images, labels)[0]

    def maps_and_logits(self, images: Any, labels: Any = None) -> tuple[Any, Any]:
        """Compute the maps as a call does, and return the logits (B, classes) of the same pass."""
        images, others = self.split.separate(images)
        images = self._preprocessed(images)
        return self._compiled(images, self.check_labels(labels, images), others)

    def full_size(self, images: Any, labels: Any = None) -> Any:
        """Compute the maps and scale them to the images, (B, H, W): bilinear, half-pixel.

        If a keras-hub preprocessor crops the photos, the map is 0 outside the crop.
        """
        maps = self(images, labels)
        photos, _ = self.split.separate(images)
        return self._preprocessing.to_photo(maps, ops.shape(photos)[1:3])

    def normalized_maps(
        self, images: Any, labels: Any, others: tuple[Any, ...] = ()
    ) -> tuple[Any, Any]:
        """Compute the same as `maps_and_logits`, inside a graph or a training step.

        Args:
            images: as in `raw_maps`, in the dtype that the model takes.
            labels: as in `raw_maps`.
            others: the model's other inputs.
        """
        with self.split.given(others):
            if self.averages:
                return self._averaged(images, labels)
            maps, logits = self.raw_maps(images, labels)
            return normalize(maps), logits

    def _averaged(self, images: Any, labels: Any) -> tuple[Any, Any]:
        first = self.raw_maps(images, labels)
        logits = first[1]
        labels = chosen_classes(labels, logits)
        size = ops.shape(images)[1:3]
        # From the finest on: its maps are what the others are scaled to.
        found: list[Any] = []
        for scale in sorted(self.scales, reverse=True):
            resized = images if scale == 1 else self._resized(images, size, scale)
            maps, _ = first if scale == 1 else self.raw_maps(resized, labels)
            copies = [normalize(maps)]
            if self.flip:
                mirrored, _ = self.raw_maps(ops.flip(resized, axis=2), labels)
                copies.append(ops.flip(normalize(mirrored), axis=2))
            finest = ops.shape((found or copies)[0])[1:3]
            found += [resize(each[..., None], finest)[..., 0] for each in copies]
        return normalize(sum(found) / len(found)), logits

    def _resized(self, images: Any, size: tuple[Any, Any], scale: float) -> Any:
        height, width = (
            max(1, round(n * scale))
            if isinstance(n, int)
            else ops.maximum(1, ops.cast(ops.round(ops.cast(n, "float32") * scale), "int32"))
            for n in size
        )
        return ops.saturate_cast(resize(images, (height, width)), images.dtype)

    @property
    def averages(self) -> bool:
        """Whether maps of resized or mirrored copies are averaged."""
        return self.flip or len(self.scales) > 1

    def _check_scales(self) -> None:
        checks.scales(self.scales)
        size = self.split.images.shape[1:3]
        if len(self.scales) > 1 and size != (None, None):
            raise ValueError(
                f"`scales` must be (1,): the model takes images of {pixels(size)} pixels. "
                f"Received: {self.scales}. Build it with an input of (None, None, channels); "
                "`flip` works with any."
            )

    def rectified(self, maps: Any) -> Any:
        """Return the ReLU of maps, or the maps unchanged if ``relu`` is off."""
        return ops.relu(maps) if self.relu else maps

    def _preprocessed(self, images: Any) -> Any:
        if self._preprocessing and len(ops.shape(images)) == 4 and 0 not in ops.shape(images):
            images = self._preprocessing(images)
        return self.check_images(images)

    def check_images(self, images: Any) -> Any:
        """Return a batch of images in the model's dtype; raises the same errors as a call."""
        expected = tuple(self.split.images.shape)
        given, images = images, None
        if _is_numeric(given):
            # A backend's own message names no argument.
            with contextlib.suppress(TypeError, ValueError):
                images = ops.convert_to_tensor(given)
        if images is None:
            raise ValueError(f"`images` must be an array of pixels. Received: {shortened(given)}.")
        fits = len(images.shape) == 4 and all(
            None in (want, have) or want == have
            for want, have in zip(expected, images.shape, strict=True)
        )
        if not fits:
            raise ValueError(
                f"`images` must have shape (batch, {', '.join(map(str, expected[1:]))}): the model "
                f"takes images of {pixels(expected[1:3])} pixels. Received: shape "
                f"{tuple(images.shape)}. Resize them (in a recipe by `crop`); one image goes in as "
                "images[None]."
            )
        if 0 in images.shape:
            raise ValueError(f"`images` is empty. Received: shape {tuple(images.shape)}.")
        return ops.cast(images, self.split.images.dtype)

    def check_labels(self, labels: Any, images: Any) -> Any:
        """Return the classes of a batch of images, (B,) int32, -1 for the predicted one.

        Raises:
            ValueError: see `fcam_tf.localization.class_numbers`. Labels that a graph computes are
                not checked.
        """
        batch = ops.shape(images)[0]
        if labels is None and not isinstance(batch, int):
            return -ops.ones_like(images[:, 0, 0, 0], dtype="int32")
        with contextlib.suppress(NotImplementedError, TypeError):  # a tensor of a graph
            labels = class_numbers(labels, batch, self.split.num_classes)
        return ops.cast(ops.convert_to_tensor(labels), "int32")
