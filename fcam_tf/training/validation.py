"""Scoring a model on a split while it trains: localisation, and accuracy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fcam_tf import metrics
from fcam_tf.data import Split, evaluation_dataset
from fcam_tf.graphs.resize import bilinear

# (images (B, H, W, 3), labels (B,)) -> (maps (B, h, w) in [0, 1], logits (B, classes))
MapsAndLogits = Callable[[Any, Any], tuple[Any, Any]]


class Validation:
    """The scores of a model on one split, by the benchmark's protocol.

    Images are resized straight to a square, maps are those of the true class, scaled to that
    square; what the split has no truth for is left out.

    Args:
        split: images with labels, and with boxes, masks or both.
        size: side of the square, in pixels.
        batch_size: images in a batch.

    Attributes:
        scores: names of the scores that the split allows.
    """

    def __init__(self, split: Split, size: int = 224, batch_size: int = 32) -> None:
        self.split = split
        self.size = size
        self.batch_size = batch_size
        self.scores = ("accuracy",)
        if split.boxes is not None:
            self.scores = ("MaxBoxAcc", "MaxBoxAccV2", *self.scores)
            self._boxes = [
                metrics.resize_boxes(boxes, split.size(i), (size, size))
                for i, boxes in enumerate(split.boxes)
            ]
        if split.masks is not None:
            self.scores = ("PxAP", *self.scores)
        self._images = evaluation_dataset(split, size=size, batch_size=batch_size)

    def __call__(
        self, maps_and_logits: MapsAndLogits, known_classes: bool = True
    ) -> dict[str, float]:
        """Score a model.

        Args:
            maps_and_logits: what to score.
            known_classes: whether the model's classes are the split's; if not, maps are those of
                the predicted class and there is no accuracy.

        Returns:
            Percent by name.
        """
        found = {name: getattr(metrics, name)() for name in self.scores if name != "accuracy"}
        correct = start = 0
        for images, labels in self._images:
            labels = labels.numpy()  # noqa: PLW2901
            maps, logits = maps_and_logits(images, labels if known_classes else None)
            maps = np.asarray(bilinear(np.asarray(maps)[..., None], (self.size, self.size)))[..., 0]
            stop = start + len(labels)
            for name, metric in found.items():
                if name == "PxAP":
                    metric.update_state(maps, [self._mask(i) for i in range(start, stop)])
                else:
                    metric.update_state(maps, self._boxes[start:stop])
            correct += int((np.asarray(logits).argmax(-1) == labels).sum())
            start = stop
        scores = {name: float(metric.result()) for name, metric in found.items()}
        return scores | ({"accuracy": 100 * correct / start} if known_classes else {})

    def _mask(self, index: int) -> np.ndarray:
        return metrics.join_masks(*self.split.read_masks(index), (self.size, self.size))
