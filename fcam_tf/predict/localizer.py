"""A model together with its method for heat maps and a threshold."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import numpy as np

from fcam_tf import cams
from fcam_tf.explain import Explainer
from fcam_tf.graphs.ranges import expect_raw_pixels
from fcam_tf.graphs.resize import resize
from fcam_tf.localization import OTSU, Localization, check_threshold
from fcam_tf.models import inference
from fcam_tf.names import FCAM_MAP


class Localizer(Explainer):
    """Find what is in images, and where.

    Args:
        classifier: a functional Keras classifier from raw RGB in [0, 255] to logits; or an F-CAM.
        method: a name in `fcam_tf.cams.METHODS` or of a baseline, or "fcam" for the maps of an
            F-CAM's decoder. None takes the default of `Explainer`.
        threshold: "otsu", or a number in [0, 1] relative to each map's maximum. None takes the
            F-CAM's own threshold for its decoder's maps, else "otsu".
        layer: the feature maps to weight, see `fcam_tf.cams.CAM`.
        **options: further options such as ``refine``, ``scales`` and ``flip``, see `Explainer`.
            ``score`` is not allowed, because it is not the score of a class.

    Attributes:
        threshold: "otsu" or a float.
        share: how a decoder's map is divided among classes, `fcam_tf.cams.ClassShare.FORMULA`; None
            for other methods. For further attributes see `Explainer`.

    Raises:
        ValueError: ``method``, ``threshold`` or ``layer`` is unknown, an option does not fit, or a
            decoder's maps are requested from a classifier.

    Examples:
        >>> localizer = fcam_tf.predict.Localizer(classifier, "gradcam")
        >>> found = localizer(images)
        >>> found.labels.shape, found.boxes.shape
        ((2,), (2, 4))
    """

    def __init__(
        self,
        classifier: keras.Model,
        method: str | None = None,
        threshold: str | float | None = None,
        layer: Any = None,
        **options: Any,
    ) -> None:
        if options.get("score") is not None:
            raise ValueError(
                "`score` must be left out: labels and their probabilities are localised. "
                "fcam_tf.cams.get explains any score."
            )
        super().__init__(classifier, method, layer, **options)
        self.share = cams.ClassShare.FORMULA if self.method == FCAM_MAP else None
        if self.method == FCAM_MAP:  # evaluations want the decoder's own maps, whatever the label
            flip = "flip" in self.options
            self._make = partial(inference.class_maps_and_logits, classifier, flip=flip)
        inputs = getattr(classifier, "inputs", None) or ()
        if len(inputs) > 1:
            raise ValueError(
                "`classifier` must take images alone: photos tell nothing of its other inputs. "
                f"Received inputs {', '.join(x.name for x in inputs)}. "
                "fcam_tf.cams.get explains it."
            )
        if threshold is None:
            threshold = classifier.threshold if self.method == FCAM_MAP else OTSU
        self.threshold = check_threshold(threshold)

    def __call__(self, images: Any, labels: Any = None) -> Localization:
        """Localise a batch.

        Args:
            images: (B, H, W, 3) raw RGB in [0, 255], uint8 or float.
            labels: (B,) classes to localise, or one for all; -1 and None are the predicted class.
                A decoder's map shows the object whatever its class under None, and else what the
                classifier sees the class in, see `fcam_tf.models.FCAM.localize`.

        Returns:
            The localisation, in the frame of ``images``.

        Raises:
            ValueError: no image, another shape, a label that is not a class, or logits of the
                classifier that are not finite.
        """
        expect_raw_pixels(images)
        maps, logits = self.maps_and_logits(images, labels)
        maps = keras.ops.convert_to_tensor(maps)
        heatmaps = resize(maps[..., None], np.shape(images)[1:3])[..., 0]
        scores = keras.ops.convert_to_numpy(cams.probabilities(logits, self.activation))
        if not np.isfinite(scores).all():
            raise ValueError("The logits are not finite: the images or the weights contain NaN.")
        return Localization.from_heatmaps(
            keras.ops.convert_to_numpy(heatmaps), scores, labels, self.threshold
        )


def find_label(wanted: str | int, class_names: Sequence[str] | None, num_classes: int) -> int:
    """Find the label that an index or a class name refers to.

    Case does not matter. If a class has several names ("hammerhead, hammerhead shark"), any of them
    works.

    Args:
        wanted: an index (int or its text) or a name. A text that is both, such as "1" where classes
            are called "1" and "2", is the name.
        class_names: the names in the order of the labels, or None.
        num_classes: number of classes.

    Returns:
        The label in [0, num_classes).

    Raises:
        ValueError: the index is out of range, or the name is unknown or matches several classes.
    """
    text = str(wanted).strip()
    is_name = isinstance(wanted, str) and class_names is not None and text in class_names
    if text.lstrip("+-").isdecimal() and not is_name:
        label = int(text)
        if not 0 <= label < num_classes:
            raise ValueError(f"`label` must be in 0..{num_classes - 1}. Received: {label}.")
        return label
    if class_names is None:
        raise ValueError(
            f"`label` must be an index in 0..{num_classes - 1}: this model has no class names. "
            f"Received: {text!r}."
        )
    aliases: dict[str, str] = {}
    labels: dict[str, set[int]] = {}
    for label, name in enumerate(class_names):
        labels.setdefault(name.casefold(), set()).add(label)
        for alias in map(str.strip, name.split(",")):
            labels.setdefault(alias.casefold(), set()).add(label)
            aliases[alias.casefold()] = alias
    key = text.casefold()
    found = sorted(labels.get(key, ()))
    if len(found) == 1:
        return found[0]
    if found:
        choices = "; ".join(f"{label} ({class_names[label]})" for label in found)
        raise ValueError(f"`label` {text!r} matches several classes; give an index: {choices}")
    close = [alias for alias in aliases if key in alias.split()]
    close = close or difflib.get_close_matches(key, aliases)
    hint = f"; did you mean {', '.join(repr(aliases[a]) for a in close[:5])}?" if close else ""
    raise ValueError(f"`label` {text!r} is not a class of this model{hint}")
