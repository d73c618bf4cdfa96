"""Where an image shows one class rather than the others, for maps that show any class."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from fcam_tf.cams import autodiff
from fcam_tf.cams.ending import probabilities
from fcam_tf.cams.gradient import GradCAM

_NOTHING = 1e-6  # evidence below which a cell says nothing


class ClassShare:
    """How each cell's evidence for a class compares with that for the others, in [0, 1].

    It is ``M_c / max(M_c, M_o)``: 1 where the evidence for the class prevails, less where the
    evidence for others prevails, and 0 where there is no evidence for the class. M_c is the class's
    Grad-CAM before normalisation, in units of logits. M_o is the Grad-CAM of the other classes:
    with a linear head, of their mean weighted by probability, in closed form; otherwise, of the
    most probable one. So a class that the image hardly shows competes with those that it does show,
    and the most probable class has little competition.

    Args:
        model: a classifier, see `CAM`.
        layer: the map whose cells are compared, see `CAM`.

    Raises:
        TypeError, ValueError: see `CAM`.
    """

    # Noted beside results: whoever changes the formula changes this, or old and new maps mix.
    FORMULA = "own / max(own, mean of others)"

    def __init__(self, model: keras.Model, layer: Any = None) -> None:
        self._cam = GradCAM(model, layer)
        self._features = autodiff.compiled(self._features_and_logits)
        self._maps = autodiff.compiled(self._cam.raw_maps)

    def __call__(self, images: Any, rows: Any, labels: Any) -> np.ndarray:
        """Compute the share of each label in the image that its row names.

        Args:
            images: (B, H, W, channels), as the model takes them.
            rows: (N,) int, which image.
            labels: (N,) int, a class in it, -1 for the predicted one.

        Returns:
            (N, h, w) float32 in [0, 1] at the resolution of the feature map.

        Raises:
            ValueError: see `CAM`.
        """
        images = self._cam.check_images(images)
        features, logits = self._features(images)
        chances = ops.convert_to_numpy(probabilities(logits, self._cam.split.activation))[rows]
        labels = np.where(labels < 0, chances.argmax(-1), labels)
        own = np.eye(chances.shape[-1], dtype=np.float32)[labels]
        others = np.where(own > 0, 0, chances)
        if self._cam.split.is_linear:
            others /= np.maximum(others.sum(-1, keepdims=True), np.finfo(np.float32).tiny)
            features = ops.take(features, rows, axis=0)
            maps = [self._cam.split.linear_maps(features, each) for each in (own, others)]
        else:
            maps = [
                self._differentiated(images, rows, each) for each in (labels, others.argmax(-1))
            ]
        for_class, against = (np.maximum(ops.convert_to_numpy(each), 0) for each in maps)
        return for_class / np.maximum(np.maximum(for_class, against), _NOTHING)

    def _features_and_logits(self, images: Any) -> tuple[Any, Any]:
        maps, logits = self._cam.split.maps_and_logits(images)
        return self._cam.split.as_maps(maps)[0], logits

    def _differentiated(self, images: Any, rows: Any, labels: Any) -> np.ndarray:
        found = []
        for start in range(0, len(rows), len(images)):
            part = slice(start, start + len(images))
            chosen = ops.take(images, rows[part], axis=0)
            found.append(ops.convert_to_numpy(self._maps(chosen, labels[part].astype("int32"))[0]))
        return np.concatenate(found)
