"""How the heat maps of a model are made: by which method, of which layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from fcam_tf import cams
from fcam_tf.cams import autodiff
from fcam_tf.models import FCAM, Classifier
from fcam_tf.names import FCAM_MAP

MapsAndLogits = Callable[[Any, Any], tuple[Any, Any]]
_INPUT_SIZE = 224  # of the WSOL benchmark, for classifiers that state none


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
        **interface: of a model that is more than images in and class scores out, see there:
            ``image_input``, ``output``, ``score``, ``grid``.

    Attributes:
        classifier: as given.
        method: the one chosen.
        layer: names of the layers that are weighted, with commas; empty for "fcam".
        image_size: (height, width) that photos are resized to, in pixels.
        num_classes: number of classes; 2 where the classifier has one output.
        activation: "softmax", or "sigmoid" where each class has a probability by itself.
        class_names: their names in the order of the labels, or None.

    Raises:
        ValueError: unknown ``method`` or ``layer``, or one that does not fit the model.
    """

    def __init__(
        self,
        classifier: keras.Model,
        method: str | None = None,
        layer: Any = None,
        **interface: Any,
    ) -> None:
        self.classifier = classifier
        own = isinstance(classifier, FCAM)
        baseline = getattr(classifier, "baseline", None)
        if method is None and own:
            method = FCAM_MAP
        elif method is None and baseline and baseline.cam is cams.HeadClassMap:
            method = baseline.name
        elif method is None:
            method = "layercam"
            layer = layer or (["P4", "P5"] if isinstance(classifier, Classifier) else None)
        if method == FCAM_MAP:
            if not own:
                raise ValueError(
                    f"`method` {FCAM_MAP!r} needs an F-CAM, and this is a classifier. "
                    f"Available: {', '.join(cams.METHODS)}."
                )
            if layer is not None or interface:
                given = {"layer": layer} if layer is not None else interface
                raise ValueError(
                    f"`{next(iter(given))}` must be left out with method {FCAM_MAP!r}. Received: "
                    f"{next(iter(given.values()))!r}."
                )
            self.layer, maker = "", classifier
            self.num_classes, self.activation = classifier.num_classes, classifier.activation
            images = classifier.inputs[0]
        else:
            explained = classifier.classifier if own else classifier
            maker = cams.get(method, explained, layer, **interface)
            self.layer = ",".join(maker.layers)
            self.num_classes, images = maker.split.num_classes, maker.split.images
            self.activation = classifier.activation if own else maker.split.activation
        self.method: str = method
        self._grey = images.shape[-1] == 1
        self._make: MapsAndLogits = maker.maps_and_logits
        self._cam = maker.teacher if method == FCAM_MAP else maker
        split = self._cam.split
        self._logits = autodiff.compiled(lambda images: split.maps_and_logits(images)[1])
        self.class_names: Sequence[str] | None = getattr(classifier, "class_names", None)
        height, width = images.shape[1:3]
        side = getattr(classifier, "input_size", _INPUT_SIZE)
        self.image_size: tuple[int, int] = (height or side, width or side)

    def maps_and_logits(self, images: Any, labels: Any = None) -> tuple[Any, Any]:
        """Compute maps (B, h, w) in [0, 1] and logits (B, classes) of images (B, H, W, 3).

        Labels are (B,), or None for the predicted classes. A model of one channel takes RGB, too:
        it is given the luminance.
        """
        return self._make(self._as_taken(images), labels)

    def _as_taken(self, images: Any) -> Any:
        if self._grey and np.shape(images)[-1:] == (3,):
            images = keras.ops.image.rgb_to_grayscale(keras.ops.cast(images, "float32"))
        return images

    def probabilities(self, images: Any) -> Any:
        """Compute the probabilities of the classes, (B, classes), without making maps.

        Of an F-CAM they are its classifier's. Takes ``images`` as ``maps_and_logits`` does.
        """
        return cams.probabilities(
            self._logits(self._cam.check_images(self._as_taken(images))), self.activation
        )
