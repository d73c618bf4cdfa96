"""A classifier, a CAM method and a threshold, tied together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from fcam_tf import cams
from fcam_tf.graphs.resize import bilinear
from fcam_tf.localization import OTSU, Localization, check_threshold

_INPUT_SIZE = 224  # of the WSOL benchmark, for classifiers that state none


class Localizer:
    """Say what is in images, and where.

    Example:
        >>> localizer = Localizer(fcam_tf.models.Classifier("efficientnetlite_b0"))
        >>> result = localizer(images)
        >>> result.labels, result.boxes

    Args:
        classifier: a Keras functional classifier, raw RGB in [0, 255] to logits.
        method: a name in `fcam_tf.cams.METHODS`.
        threshold: "otsu", or a number in [0, 1] relative to each map's maximum.
        layer: the map or maps to weigh, see `fcam_tf.cams.CAM`; None for `default_layer`.

    Attributes:
        classifier: as given.
        method: as given.
        threshold: "otsu" or a float.
        layer: names of the layers as given, with commas between them; empty where None was given.
        class_names: the classifier's names in the order of the labels, or None.
        num_classes: number of classes.
        input_size: side of the square that photos are resized to, in pixels.

    Raises:
        ValueError: unknown ``method``, ``threshold`` or ``layer``.
    """

    def __init__(
        self,
        classifier: keras.Model,
        method: str = "layercam",
        threshold: str | float = OTSU,
        layer: Any = None,
    ) -> None:
        self.classifier = classifier
        self.method = method
        self.threshold = check_threshold(threshold)
        self.class_names: Sequence[str] | None = getattr(classifier, "class_names", None)
        self.num_classes: int = classifier.output_shape[-1]
        fixed = classifier.input_shape[1]
        self.input_size: int = fixed or getattr(classifier, "input_size", _INPUT_SIZE)
        given = layer if isinstance(layer, (list, tuple)) else [layer]
        self.layer = ",".join(str(getattr(tap, "name", tap)) for tap in given if tap is not None)
        self._cam = cams.get(method, classifier, layer or default_layer(classifier, method))

    def __call__(self, images: Any, labels: Any = None) -> Localization:
        """Localise a batch.

        Args:
            images: (B, H, W, 3) raw RGB in [0, 255], uint8 or float.
            labels: (B,) classes to localise; None is the predicted class of each image.

        Returns:
            The localisation, in the frame of ``images``.

        Raises:
            ValueError: the classifier's logits are not finite.
        """
        maps, logits = self._cam.maps_and_logits(images, labels)
        heatmaps = bilinear(maps[..., None], images.shape[1:3])[..., 0]
        probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
        if not np.isfinite(probabilities).all():
            raise ValueError("The classifier's logits are not finite: its weights are damaged.")
        return Localization.from_heatmaps(
            keras.ops.convert_to_numpy(heatmaps), probabilities, labels, self.threshold
        )


def default_layer(classifier: keras.Model, method: str) -> list[str] | None:
    """Name the layers that a method weighs where the user names none, None for the method's own.

    LayerCAM of our own classifiers fuses the last two stages, which finds the whole object more
    often (docs/results.md).
    """
    return ["P4", "P5"] if method == "layercam" and hasattr(classifier, "taps") else None
