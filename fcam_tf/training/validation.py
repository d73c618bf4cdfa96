"""Scoring a model on a split while it trains: the headline figures of an evaluation."""

from __future__ import annotations

from fcam_tf.data import Split
from fcam_tf.evaluation import FRAME, FunctionMaps, Summary, score_images
from fcam_tf.evaluation.scores import measures_of
from fcam_tf.explain import MapsAndLogits


class Validation:
    """The scores of a model on one split, as ``fcam evaluate`` counts them, in memory.

    Images are resized straight to a square, maps are those of the true class; metrics without
    ground truth are left out.

    Args:
        split: images with labels, and with boxes, masks or both.
        size: side of the square, in pixels.
        batch_size: images in a batch.
        frame: side of the square in which maps are scored. None takes ``size``, which is quicker
            and enough to tell epochs apart; figures to compare with others need the benchmark's,
            `fcam_tf.evaluation.FRAME`.

    Attributes:
        scores: names of the scores that the split allows.
    """

    def __init__(
        self, split: Split, size: int = FRAME, batch_size: int = 32, frame: int | None = None
    ) -> None:
        self.split = split
        self.size = size
        self.batch_size = batch_size
        self.frame = frame or size
        found = {name: m.truth for name, m in measures_of(split).items() if m.meaning}
        # Those by masks first, in the order that tables show.
        self.scores = (*sorted(found, key=lambda name: found[name] != "mask"), "accuracy")

    def __call__(
        self, maps_and_logits: MapsAndLogits, known_classes: bool = True
    ) -> dict[str, float]:
        """Score a model.

        Args:
            maps_and_logits: what to score, (images (B, H, W, 3), labels (B,)) -> (maps (B, h, w) in
                [0, 1], logits (B, classes)).
            known_classes: whether the model's classes are the split's; if not, maps are those of
                the predicted class and there is no accuracy.

        Returns:
            Percent by name.
        """
        metrics = self.summary(maps_and_logits, known_classes).metrics()
        return {name: metrics[name] for name in self.scores if metrics[name] is not None}

    def summary(self, maps_and_logits: MapsAndLogits, known_classes: bool = True) -> Summary:
        """Score a model as a call does, and return all that follows from its maps."""
        classes = len(self.split.class_names) if known_classes else None
        scored = score_images(
            FunctionMaps(maps_and_logits, (self.size, self.size), classes),
            self.split,
            explain_truth=known_classes,
            batch_size=self.batch_size,
            frame=self.frame,
        )
        return Summary(scored, self.split)
