"""A model, the way it makes heat maps and a threshold, tied together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from fcam_tf import cams
from fcam_tf.graphs.ranges import expect_raw_pixels
from fcam_tf.graphs.resize import bilinear
from fcam_tf.localization import OTSU, Localization, check_threshold
from fcam_tf.models import FCAM, Classifier

OWN = "fcam"
MapsAndLogits = Callable[[Any, Any], tuple[Any, Any]]
_INPUT_SIZE = 224  # of the WSOL benchmark, for classifiers that state none


class Localizer:
    """Say what is in images, and where.

    Example:
        >>> localizer = Localizer(fcam_tf.models.Classifier("efficientnetlite_b0"))
        >>> result = localizer(images)
        >>> result.labels, result.boxes

    Args:
        classifier: a Keras functional classifier, raw RGB in [0, 255] to logits; or an F-CAM.
        method: a name in `fcam_tf.cams.METHODS`, or "fcam" for the maps of an F-CAM's decoder.
            None takes what `explain` does.
        threshold: "otsu", or a number in [0, 1] relative to each map's maximum. None takes the one
            that was chosen for an F-CAM's maps, else "otsu".
        layer: the map or maps to weigh, see `fcam_tf.cams.CAM`.

    Attributes:
        classifier: as given.
        method: the one chosen.
        threshold: "otsu" or a float.
        layer: names of the layers that are weighed, see `explain`.
        class_names: the classifier's names in the order of the labels, or None.
        num_classes: number of classes.
        input_size: side of the square that photos are resized to, in pixels.

    Raises:
        ValueError: unknown ``method``, ``threshold`` or ``layer``, or a decoder's maps are asked of
            a classifier.
    """

    def __init__(
        self,
        classifier: keras.Model,
        method: str | None = None,
        threshold: str | float | None = None,
        layer: Any = None,
    ) -> None:
        self.classifier = classifier
        self.method, self.layer, self._maps_and_logits = explain(classifier, method, layer)
        self.class_names: Sequence[str] | None = getattr(classifier, "class_names", None)
        own = isinstance(classifier, FCAM)
        self.num_classes: int = classifier.num_classes if own else classifier.output_shape[-1]
        fixed = classifier.input_shape[1]
        self.input_size: int = fixed or getattr(classifier, "input_size", _INPUT_SIZE)
        if threshold is None:
            threshold = classifier.threshold if self.method == OWN else OTSU
        self.threshold = check_threshold(threshold)

    def __call__(self, images: Any, labels: Any = None) -> Localization:
        """Localise a batch.

        Args:
            images: (B, H, W, 3) raw RGB in [0, 255], uint8 or float.
            labels: (B,) classes to localise, or one for all; -1 and None are the predicted class.

        Returns:
            The localisation, in the frame of ``images``.

        Raises:
            ValueError: no image, another shape, a label that is no class, or logits of the
                classifier that are not finite.
        """
        images = keras.ops.convert_to_tensor(images)
        expect_raw_pixels(images)
        maps, logits = self._maps_and_logits(images, labels)
        maps = keras.ops.convert_to_tensor(maps)
        heatmaps = bilinear(maps[..., None], images.shape[1:3])[..., 0]
        probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
        if not np.isfinite(probabilities).all():
            raise ValueError("The classifier's logits are not finite: its weights are damaged.")
        return Localization.from_heatmaps(
            keras.ops.convert_to_numpy(heatmaps), probabilities, labels, self.threshold
        )


def explain(
    model: keras.Model, method: str | None = None, layer: Any = None
) -> tuple[str, str, MapsAndLogits]:
    """Choose how the heat maps of a model are made.

    A method is the paper's row: it weighs the top map. Where none is named, an F-CAM gives its own
    maps, a classifier of a baseline whose head makes maps gives those, and any other LayerCAM; of
    our own classifiers the last two stages fused, which finds more of the object than the top
    alone (docs/results.md).

    Args:
        model: a classifier, or an F-CAM; a CAM method explains the classifier within.
        method: a name in `fcam_tf.cams.METHODS`, or "fcam".
        layer: see `fcam_tf.cams.CAM`.

    Returns:
        The method; names of the layers that are weighed, with commas, empty for "fcam"; and a
        function of images (B, H, W, 3) and labels (B,) or None, which gives maps (B, h, w) in
        [0, 1] and logits (B, classes).

    Raises:
        ValueError: the model has no decoder, or the method cannot explain it.
    """
    own = isinstance(model, FCAM)
    baseline = getattr(model, "baseline", None)
    if method is None and own:
        method = OWN
    elif method is None and baseline and baseline.own_head:
        method = baseline.name
    elif method is None:
        method = "layercam"
        layer = layer or (["P4", "P5"] if isinstance(model, Classifier) else None)
    if method == OWN:
        if not own:
            raise ValueError(
                f"`method` {OWN!r} takes the maps of a model with a decoder, and this is a "
                f"classifier. Choose one of {', '.join(cams.METHODS)}."
            )
        if layer is not None:
            raise ValueError(f"`layer` must be left out with method {OWN!r}. Received: {layer!r}.")
        return OWN, "", model.maps_and_logits
    cam = cams.get(method, model.classifier if own else model, layer)
    return method, ",".join(cam.layers), cam.maps_and_logits
