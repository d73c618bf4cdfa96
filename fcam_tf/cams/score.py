"""CAM methods that weight a channel by the model's score with only, or without, that channel."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops
from rich.progress import track

from fcam_tf import checks
from fcam_tf.cams import autodiff
from fcam_tf.cams.base import CAM, normalize, weighted_sum
from fcam_tf.cams.ending import probabilities
from fcam_tf.cams.split_classifier import chosen_classes
from fcam_tf.graphs.resize import resize


class ChannelCAM(CAM):
    """``M = ReLU(sum_k weight_k A_k)``, with a pass through the model for each weight.

    Args, beside those of `CAM`:
        channels: K, how many channels are used: those that vary most over the cells of the image's
            map (by the variance of A_k). The others have weight 0, which changes the map. None uses
            all, as the papers do.
        batch_size: how many passes run at once.
        progress: whether to show a progress bar.

    Raises:
        ValueError: ``batch_size`` or ``channels`` below 1.
    """

    def __init__(
        self,
        model: keras.Model,
        layer: Any = None,
        *,
        channels: int | None = None,
        batch_size: int = 32,
        progress: bool = False,
        **options: Any,
    ) -> None:
        checks.whole("batch_size", batch_size, 1)
        if channels is not None:
            checks.whole("channels", channels, 1)
        super().__init__(model, layer, **options)
        self.channels = channels
        self.batch_size = batch_size
        self.progress = progress
        # The loop over channels runs outside the graph, so that it is cut into equal small parts.
        self._compiled = autodiff.uncompiled(self.normalized_maps)
        self._prepare = autodiff.compiled(self._prepared)
        self._score = autodiff.compiled(self._scored)

    @abc.abstractmethod
    def prepare(self, images: Any, first: Any, chosen: Any) -> tuple[list[Any], Any, Any]:
        """Return the inputs of a pass, and the channels that are weighted.

        ``first`` is the map as the model computes it, (B, h, w, C) or tokens; ``chosen`` are the
        indices of the K channels, (B, K). Returns a list of tensors with one entry for each image,
        one tensor with an entry for each image and channel (B * K, ...), and the channels (B, h, w,
        K).
        """

    @abc.abstractmethod
    def score(self, whole: list[Any], part: Any, labels: Any, factor: Any, noise: Any) -> Any:
        """Return the class scores (n,) of n pairs of image and channel; see `prepare`."""

    def weights(self, scores: Any, logits: Any, labels: Any) -> Any:  # noqa: ARG002
        """Compute the weights (B, K) from the scores (B, K)."""
        return scores

    def filters(self, shape: tuple[int, ...]) -> Iterator[tuple[Any, Any]]:  # noqa: ARG002
        """Yield (factor, noise) for each way of applying a mask to images of ``shape``."""
        yield 1.0, 0.0

    def raw_maps(self, images: Any, labels: Any) -> tuple[Any, Any]:
        others = self.split.others
        whole, parts, channels, logits = self._prepare(images, others)
        labels = chosen_classes(labels, logits)
        batch, count = channels.shape[0], channels.shape[-1]
        filters = [
            (ops.convert_to_tensor(f, "float32"), ops.convert_to_tensor(n, "float32"))
            for f, n in self.filters(tuple(images.shape))
        ]
        scores = []
        starts = range(0, batch * count, self.batch_size)
        for start in track(starts, f"{self.name}: channels", disable=not self.progress):
            pairs = ops.arange(start, min(start + self.batch_size, batch * count), dtype="int32")
            image = pairs // count
            pair = (
                [ops.take(each, image, 0) for each in whole],
                ops.take(parts, pairs, 0),
                ops.take(labels, image),
            )
            rest = tuple(ops.take(other, image, 0) for other in others)
            scores.append(sum(self._score(pair, rest, *way) for way in filters))
        weights = self.weights(ops.reshape(ops.concatenate(scores), (batch, count)), logits, labels)
        return self.rectified(weighted_sum(weights[:, None, None, :], channels)), logits

    def _scored(
        self, pair: tuple[list[Any], Any, Any], others: tuple[Any, ...], factor: Any, noise: Any
    ) -> Any:
        with self.split.given(others):
            return self.score(*pair, factor, noise)

    def _prepared(self, images: Any, others: tuple[Any, ...]) -> tuple[list[Any], Any, Any, Any]:
        with self.split.given(others):
            (first, *_), logits = self.split.maps_and_logits(images)
        (maps,) = self.split.as_maps([first])
        batch, count = ops.shape(maps)[0], maps.shape[-1]
        if self.channels is None or self.channels >= count:
            chosen = ops.tile(ops.arange(count, dtype="int32")[None], (batch, 1))
        else:
            _, chosen = ops.top_k(ops.var(maps, axis=(1, 2)), self.channels)
        return *self.prepare(images, first, chosen), logits

    def _taken(self, first: Any, chosen: Any) -> Any:
        """Return the chosen channels (B, h, w, K) of the map."""
        (maps,) = self.split.as_maps([first])
        return ops.take_along_axis(maps, chosen[:, None, None, :], axis=-1)


class ScoreCAM(ChannelCAM):
    """Score-CAM (Wang et al., CVPR Workshops 2020).

    Each channel is stretched to [0, 1], scaled to the image and used as a mask: where it is 0, the
    image becomes the baseline colour. weight_k is the probability of the class for that image, or
    the value of ``score``. ``M = ReLU(sum_k weight_k A_k)`` with the stretched maps, which are 0
    for constant channels. The model runs once or more for each channel: thousands of forward passes
    for one image.

    Args, beside those of `ChannelCAM`:
        baseline: the colour of masked pixels, in the range of the images: one number, or one for
            each channel. None takes the colour that our own classifiers' preprocessing maps to
            zero, as the tables were measured, and for any other model the mean colour of each
            image. Both depend only on what the model computes, not on how its scaling is
            implemented.

    Raises:
        ValueError: ``baseline`` is not a colour.
    """

    name = "scorecam"

    def __init__(
        self, model: keras.Model, layer: Any = None, *, baseline: Any = None, **options: Any
    ) -> None:
        super().__init__(model, layer, **options)
        number = self.split.images.shape[-1]
        colour = getattr(model, "zero_colour", None) if baseline is None else baseline
        self.baseline = None if colour is None else np.asarray(colour, "float32")
        if self.baseline is not None and not (
            self.baseline.shape in ((), (number,)) and np.isfinite(self.baseline).all()
        ):
            raise ValueError(
                f"`baseline` must be one number, or {number} of them. Received: {baseline!r}."
            )

    def prepare(self, images: Any, first: Any, chosen: Any) -> tuple[list[Any], Any, Any]:
        channels = normalize(self._taken(first, chosen))
        _, height, width, _ = ops.shape(channels)
        masks = ops.reshape(ops.transpose(channels, (0, 3, 1, 2)), (-1, height, width, 1))
        return [images], masks, channels

    def score(self, whole: list[Any], part: Any, labels: Any, factor: Any, noise: Any) -> Any:
        images = ops.cast(whole[0], "float32")
        base = self.baseline
        # A tensor: NumPy would be first to add and multiply, and know no gradients nor devices.
        base = ops.convert_to_tensor(base) if base is not None else ops.mean(images, (1, 2), True)
        masks = resize(part, ops.shape(images)[1:3])
        masked = base + (images - base) * (masks * factor + noise)
        logits = self.split.logits(ops.saturate_cast(masked, self.split.images.dtype))
        if self.split.score is not None:
            return logits[:, 0]
        scores = probabilities(logits, self.split.activation)
        return ops.take_along_axis(scores, labels[:, None], axis=1)[:, 0]


class SmoothedScoreCAM(ScoreCAM):
    """SS-CAM (Wang et al., 2020): the mean score over masks with Gaussian noise.

    Args, beside those of `CAM`:
        samples: number of noise samples; each is shared by all channels and images.
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
        self.draws = keras.random.SeedGenerator(seed, name="draws")

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


class AblationCAM(ChannelCAM):
    """Ablation-CAM (Desai and Ramaswamy, WACV 2020).

    ``M = ReLU(sum_k weight_k A_k)`` with weight_k = (y - y_k) / y, where y is the logit of the
    class and y_k that with channel k set to zero. The division by y is left out: it is common to
    all channels, and a negative y would invert the map. Zero is the paper's value for maps after a
    ReLU; it is used for other maps, too. Only the layers after the map run for each channel. With a
    linear head no pass is needed: y - y_k is w_k mean(A_k).
    """

    name = "ablationcam"

    def prepare(self, images: Any, first: Any, chosen: Any) -> tuple[list[Any], Any, Any]:
        return [images, first], ops.reshape(chosen, (-1,)), self._taken(first, chosen)

    def score(self, whole: list[Any], part: Any, labels: Any, factor: Any, noise: Any) -> Any:  # noqa: ARG002
        images, first = whole
        kept = 1.0 - ops.one_hot(part, first.shape[-1], dtype="float32")
        logits = self.split.logits_without(images, first, kept)
        return ops.take_along_axis(logits, labels[:, None], axis=1)[:, 0]

    def weights(self, scores: Any, logits: Any, labels: Any) -> Any:
        return ops.take_along_axis(logits, labels[:, None], axis=1) - scores

    def raw_maps(self, images: Any, labels: Any) -> tuple[Any, Any]:
        if not self.split.is_linear:
            return super().raw_maps(images, labels)
        _, chosen, channels, logits = self._prepare(images, self.split.others)
        evidence = self.split.linear_evidence(channels, labels, logits)
        chosen = ops.reshape(chosen, (channels.shape[0], -1))
        drops = ops.take_along_axis(
            evidence.gradients[0], chosen[:, None, None], axis=-1
        ) * ops.sum(channels, (1, 2), keepdims=True)
        return self.rectified(weighted_sum(drops, channels)), logits
