"""How the heat maps of a model are made: by which method, of which layers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self

import keras
import numpy as np

from fcam_tf import cams
from fcam_tf.cams import autodiff
from fcam_tf.models import FCAM, Classifier, inference
from fcam_tf.names import FCAM_MAP, told
from fcam_tf.refine import check_refine, refine_maps

MapsAndLogits = Callable[[Any, Any], tuple[Any, Any]]
_INPUT_SIZE = 224  # of the WSOL benchmark, for classifiers that state none
_DEFAULTS = {"relu": True, "scales": [1], "flip": False, "refine": None}
_OF_DECODERS = ("flip", "refine")  # options that the maps of a decoder have, too


class Explainer:
    """A model and the way its heat maps are made.

    A method is the paper's row: it weights the top map. Where none is named, an F-CAM gives its own
    maps, a classifier of a baseline whose head makes maps gives those, and any other LayerCAM; of
    our own classifiers the last two stages fused, which finds more of the object than the top
    alone (docs/results.md).

    Args:
        classifier: a Keras classifier, raw RGB in [0, 255] to logits; or an F-CAM, of
            which a CAM method explains the classifier within.
        method: a name in `fcam_tf.cams.METHODS` or of a baseline, or "fcam" for the maps of an
            F-CAM's decoder.
        layer: the map or maps to weight, see `fcam_tf.cams.CAM`.
        refine: "crf" aligns the maps with the images, see `fcam_tf.refine.refine_maps`; None leaves
            them as they are.
        **options: more for the method, such as ``scales``, ``flip``, ``relu`` and ``grid``, see
            there, or ``channels`` and ``baseline`` of `fcam_tf.cams.ScoreCAM`. "fcam" takes
            ``flip`` alone.

    Attributes:
        classifier: as given.
        method: the one chosen.
        layer: names of the layers that are weighted, with commas; empty for "fcam".
        refine: as given.
        options: ``refine`` and ``options`` that are not what they are by default, as JSON values.
        image_shape: (height, width) of the images that the classifier takes; None is any.
        image_size: (height, width) that photos are resized to, in pixels.
        num_classes: number of classes; 2 where the classifier has one output.
        activation: "softmax", or "sigmoid" where each class has a probability by itself.
        class_names: their names in the order of the labels, or None.

    Raises:
        ValueError: unknown ``method`` or ``layer``, one that does not fit the model, or an option
            that the maps of a decoder do not have.
    """

    def __init__(
        self,
        classifier: keras.Model,
        method: str | None = None,
        layer: Any = None,
        *,
        refine: str | None = None,
        **options: Any,
    ) -> None:
        check_refine(refine)
        self.classifier, self.refine = classifier, refine
        self.options = _recorded({**options, "refine": refine})
        is_fcam = isinstance(classifier, FCAM)
        method, layer = _fitting(classifier, method, layer)
        if method == FCAM_MAP:
            if not is_fcam:
                raise ValueError(
                    f"`method` {FCAM_MAP!r} needs an F-CAM, and this is a classifier. "
                    f"Available: {', '.join(cams.METHODS)}."
                )
            given = {"layer": layer} if layer is not None else {}
            given |= {k: value for k, value in self.options.items() if k not in _OF_DECODERS}
            if given:
                name, value = next(iter(given.items()))
                raise ValueError(
                    f"`{name}` must be left out with method {FCAM_MAP!r}: a decoder's map has the "
                    "resolution of the image, and takes `flip` and `refine` alone. Received: "
                    f"{value!r}."
                )
            self.layer, maker = "", classifier
            self._make: MapsAndLogits = partial(
                classifier.maps_and_logits, flip="flip" in self.options
            )
            self.num_classes, self.activation = classifier.num_classes, classifier.activation
            images = classifier.inputs[0]
        else:
            explained = classifier.classifier if is_fcam else classifier
            maker = cams.get(method, explained, layer, **options)
            self._make = maker.maps_and_logits
            self.layer = ",".join(maker.layers)
            self.num_classes, images = maker.split.num_classes, maker.split.images
            self.activation = classifier.activation if is_fcam else maker.split.activation
        self.method = method
        self._grey = images.shape[-1] == 1
        self._cam = maker.teacher if method == FCAM_MAP else maker
        split = self._cam.split
        self._logits = autodiff.compiled(lambda images: split.maps_and_logits(images)[1])
        self.class_names: Sequence[str] | None = getattr(classifier, "class_names", None)
        self.image_shape: tuple[int | None, int | None] = tuple(images.shape[1:3])
        height, width = self.image_shape
        side = getattr(classifier, "input_size", _INPUT_SIZE)
        self.image_size: tuple[int, int] = (height or side, width or side)

    def maps_and_logits(self, images: Any, labels: Any = None) -> tuple[Any, Any]:
        """Compute maps (B, h, w) in [0, 1] and logits (B, classes) of images (B, H, W, 3).

        Labels are (B,), or None for the predicted classes. A model of one channel takes RGB, too:
        it is given the luminance.
        """
        maps, logits = self._make(self._as_taken(images), labels)
        return refine_maps(maps, images) if self.refine else maps, logits

    def in_graph(self, images: Any) -> tuple[Any, Any]:
        """Compute what `maps_and_logits` does for the predicted classes, in a graph of TensorFlow.

        Images are a tensor (B, H, W, 3) float32. Maps are those before ``refine``.
        """
        images = self._as_taken(images)
        if self.method != FCAM_MAP:
            return self._cam.maps_and_logits(images)
        return inference.maps_and_logits(
            lambda x: self.classifier(x, training=False), images, flip="flip" in self.options
        )

    def unrefined(self) -> Self:
        """Return the same, whose maps are as the model gives them."""
        plain = copy.copy(self)
        plain.refine = None
        return plain

    @property
    def told(self) -> str:
        """How the maps are made, for people: "layercam at P4,P5, flip"."""
        layer = f" at {self.layer}" if self.layer else ""
        return ", ".join([self.method + layer, *told(self.options)])

    def _as_taken(self, images: Any) -> Any:
        if self._grey and tuple(keras.ops.shape(images))[-1:] == (3,):
            images = keras.ops.image.rgb_to_grayscale(keras.ops.cast(images, "float32"))
        return images

    def probabilities(self, images: Any) -> Any:
        """Compute the probabilities of the classes, (B, classes), without making maps.

        Of an F-CAM they are its classifier's. Takes ``images`` as ``maps_and_logits`` does.
        """
        return cams.probabilities(
            self._logits(self._cam.check_images(self._as_taken(images))), self.activation
        )


def _fitting(classifier: keras.Model, method: str | None, layer: Any) -> tuple[str, Any]:
    """Return a method and what it weights; where none is named, what fits the model."""
    if method is not None:
        return method, layer
    if isinstance(classifier, FCAM):
        return FCAM_MAP, layer
    baseline = getattr(classifier, "baseline", None)
    if baseline and baseline.cam is cams.HeadClassMap:
        return baseline.name, layer
    return "layercam", layer or (["P4", "P5"] if isinstance(classifier, Classifier) else None)


def _recorded(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that say something, as JSON values; of a function its name."""

    def plain(value: Any) -> Any:
        if callable(value):
            return f"{value.__module__}.{value.__qualname__}"
        return np.asarray(value).tolist()

    values = {name: plain(value) for name, value in options.items()}
    return {name: value for name, value in values.items() if value != _DEFAULTS.get(name)}
