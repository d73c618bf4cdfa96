"""CAM methods that weight each channel by what the model says of the image seen through it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
from keras import ops
from rich.progress import track

from fcam_tf import checks
from fcam_tf.cams import autodiff
from fcam_tf.cams.base import CAM, normalize, weighted_sum
from fcam_tf.cams.ending import probabilities
from fcam_tf.cams.split_classifier import chosen_classes
from fcam_tf.graphs.resize import resize


class ScoreCAM(CAM):
    """Score-CAM (Wang et al., CVPR Workshops 2020).

    Each channel is stretched to [0, 1], scaled to the image and multiplied with it (with the image
    as the first layer sees it, so that masked pixels are the mean colour, not black); weight_k is
    the probability of the class for that image.
    ``M = ReLU(sum_k weight_k A_k)`` with the stretched maps, which are 0 for constant channels. The
    model runs once or more for each channel: thousands of forward passes for one image.

    Args, beside those of `CAM`:
        batch_size: masked images that go through the model at once.
        progress: show a progress bar.

    Raises:
        ValueError: ``batch_size`` below 1.
    """

    name = "scorecam"

    def __init__(
        self,
        model: keras.Model,
        layer: Any = None,
        *,
        batch_size: int = 32,
        progress: bool = False,
    ) -> None:
        checks.whole("batch_size", batch_size, 1)
        super().__init__(model, layer)
        self.batch_size = batch_size
        self.progress = progress
        # The loop over channels runs outside the graph, so that it is cut into equal small parts.
        self._compiled = self._normalized
        self._prepare = autodiff.compiled(self._stretched_channels)
        self._probability = autodiff.compiled(self._masked_probability)

    def filters(self, shape: tuple[int, ...]) -> Iterator[tuple[Any, Any]]:  # noqa: ARG002
        """Yield (factor, noise) of each way in which a mask is applied to images of ``shape``."""
        yield 1.0, 0.0

    def raw_maps(self, images: Any, labels: Any) -> tuple[Any, Any]:
        scaled, channels, logits = self._prepare(images)
        labels = chosen_classes(labels, logits)
        batch, height, width, count = channels.shape
        masks = ops.reshape(ops.transpose(channels, (0, 3, 1, 2)), (-1, height, width, 1))
        filters = [
            (ops.convert_to_tensor(f, "float32"), ops.convert_to_tensor(n, "float32"))
            for f, n in self.filters(tuple(scaled.shape))
        ]
        scores = []
        starts = range(0, batch * count, self.batch_size)
        for start in track(starts, f"{self.name}: channels", disable=not self.progress):
            pairs = ops.arange(start, min(start + self.batch_size, batch * count), dtype="int32")
            chosen = pairs // count
            part = (
                ops.take(scaled, chosen, 0),
                ops.take(masks, pairs, 0),
                ops.take(labels, chosen),
            )
            scores.append(sum(self._probability(*part, *way) for way in filters))
        weights = ops.reshape(ops.concatenate(scores), (batch, 1, 1, count))
        return ops.relu(weighted_sum(weights, channels)), logits

    def _stretched_channels(self, images: Any) -> tuple[Any, Any, Any]:
        scaled = self.split.scale(images)
        channels = normalize(self.split.activations(images))
        return scaled, channels, self.split.logits_of_scaled(scaled)

    def _masked_probability(
        self, scaled: Any, masks: Any, labels: Any, factor: Any, noise: Any
    ) -> Any:
        masks = resize(masks, ops.shape(scaled)[1:3])
        logits = self.split.logits_of_scaled(scaled * (masks * factor + noise))
        scores = probabilities(logits, self.split.activation)
        return ops.take_along_axis(scores, labels[:, None], axis=1)[:, 0]


class SmoothedScoreCAM(ScoreCAM):
    """SS-CAM (Wang et al., 2020): the mean score over masks with Gaussian noise.

    Args, beside those of `CAM`:
        samples: number of noises; each is shared by all channels and images.
        std: standard deviation of the noise, in units of the mask.
        seed: seed of the noise.
        **options: those of `ScoreCAM`.
    """

    name = "sscam"

    def __init__(
        self,
        model: keras.Model,
        layer: Any = None,
        *,
        samples: int = 35,
        std: float = 2.0,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        checks.whole("samples", samples, 1)
        checks.number("std", std, "[0, inf)")
        super().__init__(model, layer, **options)
        self.samples = samples
        self.std = std
        self.draws = keras.random.SeedGenerator(seed)

    def filters(self, shape: tuple[int, ...]) -> Iterator[tuple[Any, Any]]:
        for _ in range(self.samples):
            yield (
                1.0,
                self.std * keras.random.normal((1, *shape[1:]), dtype="float32", seed=self.draws),
            )


class IntegratedScoreCAM(ScoreCAM):
    """IS-CAM (Naidu et al., 2020): scores added up while the masked image is faded in.

    The n-th of N images is the sum of (i / N) times the masked image for i up to n, as the F-CAM
    tables were measured.

    Args, beside those of `CAM`:
        intervals: N.
        **options: those of `ScoreCAM`.
    """

    name = "iscam"

    def __init__(
        self, model: keras.Model, layer: Any = None, *, intervals: int = 10, **options: Any
    ) -> None:
        checks.whole("intervals", intervals, 1)
        super().__init__(model, layer, **options)
        self.intervals = intervals

    def filters(self, shape: tuple[int, ...]) -> Iterator[tuple[Any, Any]]:  # noqa: ARG002
        for n in range(1, self.intervals + 1):
            yield n * (n + 1) / (2 * self.intervals), 0.0
