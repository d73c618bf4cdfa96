"""Is an explanation faithful to the model? The score after changing the pixels that a map marks.

All functions take ``scores``, a function from images (B, H, W, C) float32 and labels (B,) int to
(B,) probabilities of these classes. It is called with batches of one size, so a compiled function
is traced once. Everything is computed in NumPy and is the same on every run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.filters import gaussian

from fcam_tf.metrics.scoremap import Floats, check_scoremap

Scores = Callable[[NDArray[np.float32], NDArray[np.int64]], Any]
STEPS = 16
BATCH = 32  # images for one call of ``scores``
_BLUR = 5.0  # standard deviation in pixels, of RISE's released code


def deletion_curve(
    scores: Scores,
    images: ArrayLike,
    maps: ArrayLike,
    labels: ArrayLike,
    *,
    steps: int = STEPS,
    baseline: ArrayLike | None = None,
    batch_size: int = BATCH,
) -> Floats:
    """The score while the pixels a map marks most are deleted (Petsiuk et al., RISE, BMVC 2018).

    At step k, the fraction ``k / steps`` of the pixels with the highest values takes the baseline's
    colour; among equal values, the earlier in reading order goes first. With a good map the score
    falls at once, so a small ``area`` is better. This costs steps + 1 forward passes per image.

    Args:
        scores: see this module.
        images: (B, H, W, C) as the model takes them.
        maps: (B, H, W) in [0, 1].
        labels: (B,) the explained classes.
        steps: how often pixels are deleted.
        baseline: (C,) colour or (H, W, C) image that replaces what is deleted. None is each image's
            own mean colour; RISE's is that of ImageNet.
        batch_size: images for one call of ``scores``.

    Returns:
        (B, steps + 1) float64 scores; the first is that of the whole image.

    Raises:
        TypeError, ValueError: shapes do not fit, a map is malformed, or scores are not finite.

    Examples:
        >>> def brightness(images, labels):  # in the place of a model
        ...     return images.mean((1, 2, 3)) / 255
        >>> image = np.zeros((1, 4, 4, 3))
        >>> image[:, :2] = 255
        >>> curve = fcam_tf.metrics.deletion_curve(
        ...     brightness, image, image[..., 0] / 255, [0], steps=2, baseline=[0, 0, 0]
        ... )
        >>> curve.tolist()
        [[0.5, 0.0, 0.0]]
    """
    pixels, heatmaps, classes = check_explained(images, maps, labels)

    def changed() -> Iterable[tuple[NDArray, Any]]:
        for image, heatmap, label in zip(pixels, heatmaps, classes, strict=True):
            plain = np.broadcast_to(
                mean_colour(image) if baseline is None else baseline, image.shape
            )
            yield from ((each, label) for each in _replaced(image, plain, heatmap, steps))

    return score_all(scores, changed(), batch_size).reshape(len(pixels), steps + 1)


def insertion_curve(
    scores: Scores,
    images: ArrayLike,
    maps: ArrayLike,
    labels: ArrayLike,
    *,
    steps: int = STEPS,
    batch_size: int = BATCH,
) -> Floats:
    """The score while the pixels a map marks most are inserted into a blurred image (RISE).

    The blur is a Gaussian of 5 pixels, with repeated edges. With a good map the score rises at
    once, so a large ``area`` is better. For arguments, costs and errors see ``deletion_curve``.

    Returns:
        (B, steps + 1) float64 scores; the last is that of the whole image.
    """
    pixels, heatmaps, classes = check_explained(images, maps, labels)

    def changed() -> Iterable[tuple[NDArray, Any]]:
        for image, heatmap, label in zip(pixels, heatmaps, classes, strict=True):
            blurred = gaussian(image, _BLUR, mode="nearest", channel_axis=-1)
            yield from ((each, label) for each in _replaced(blurred, image, heatmap, steps))

    return score_all(scores, changed(), batch_size).reshape(len(pixels), steps + 1)


def area(curves: ArrayLike) -> Floats:
    """(B,) areas under curves (B, n) over the fraction of pixels, in [0, 1], by trapezoids."""
    curves = np.asarray(curves, np.float64)
    return (curves[:, :-1] + curves[:, 1:]).mean(axis=1) / 2


def masked(images: ArrayLike, maps: ArrayLike, baseline: ArrayLike | None = None) -> NDArray:
    """(B, H, W, C) images masked by their maps: ``M * image + (1 - M) * baseline``.

    The explanation map of Grad-CAM++ (Chattopadhyay et al., WACV 2018, section 3.1), which is a
    product for images whose baseline is zero. For the arguments see ``deletion_curve``.
    """
    pixels, heatmaps, _ = check_explained(images, maps, None)
    through = heatmaps[..., None]
    plain = mean_colour(pixels) if baseline is None else np.asarray(baseline)
    return (through * pixels + (1 - through) * plain).astype(np.float32)


def average_drop(before: ArrayLike, after: ArrayLike) -> Floats:
    """(B,) ``max(0, Y - O) / Y`` in [0, 1], of scores Y of images and O of their ``masked`` ones.

    The mean over images is Average Drop (Chattopadhyay et al., WACV 2018); smaller is better. An
    image whose score is 0 gives 0.

    Examples:
        >>> fcam_tf.metrics.average_drop(before=[0.5, 0.5], after=[0.25, 0.75]).tolist()
        [0.5, 0.0]
    """
    before, after = (np.asarray(each, np.float64) for each in (before, after))
    return np.maximum(before - after, 0) / np.where(before > 0, before, 1)


def increase_in_confidence(before: ArrayLike, after: ArrayLike) -> Floats:
    """(B,) 1 where the ``masked`` image's score is higher than the image's, else 0.

    The mean over images is Increase in Confidence (Chattopadhyay et al.); larger is better.
    """
    return (np.asarray(before) < np.asarray(after)).astype(np.float64)


def adcc(drop: ArrayLike, maps: ArrayLike, masked_maps: ArrayLike) -> Floats:
    """(B,) ADCC in [0, 1], larger is better (Poppi et al., CVPR Workshops 2021, equation 5).

    ``3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop))``, the harmonic mean; 0 if one of
    them is 0. Coherency is Pearson's correlation of the map with that of the masked image, scaled
    to [0, 1] by ``(1 + r) / 2`` as in the authors' code (aimagelab/ADCC); r is 0 if a map is
    constant. Complexity is the L1 norm divided by the number of pixels, also as in that code: the
    map's mean. The harmonic mean is computed for each image. A published version of that code
    multiplies by the sum of the inverses, which is not a mean; this is the paper's equation.

    Args:
        drop: (B,), from ``average_drop``.
        maps: (B, H, W) in [0, 1].
        masked_maps: (B, H, W), the maps of the ``masked`` images for the same classes.
    """
    maps, again = (np.asarray(each, np.float64) for each in (maps, masked_maps))
    if maps.shape != again.shape or maps.ndim != 3:
        raise ValueError(
            f"`maps` and `masked_maps` must both be (B, H, W). Received: {maps.shape} and "
            f"{again.shape}."
        )
    parts = np.stack(
        [(1 + _correlation(maps, again)) / 2, 1 - maps.mean((1, 2)), 1 - np.asarray(drop)]
    )
    possible = (parts > 0).all(axis=0)
    return np.where(possible, 3 / (1 / np.where(possible, parts, 1)).sum(axis=0), 0.0)


def mean_colour(images: NDArray) -> NDArray:
    """The mean colour of images (..., H, W, C), (..., 1, 1, C)."""
    return images.mean(axis=(-3, -2), keepdims=True)


def highest_first(heatmap: NDArray) -> NDArray[np.int64]:
    """(H * W,) indices of the pixels, the highest first; equal ones in reading order."""
    return np.argsort(-heatmap, axis=None, kind="stable")


def check_explained(images: ArrayLike, maps: ArrayLike, labels: ArrayLike | None) -> Any:
    """Images as (B, H, W, C) float32, maps as (B, H, W) float64 and labels as (B,) int64.

    Raises TypeError or ValueError if they do not fit together; labels may be None.
    """
    images, maps = np.asarray(images, np.float32), np.asarray(maps)
    if images.ndim != 4 or maps.shape != images.shape[:3]:
        raise ValueError(
            "`maps` must have the height and width of `images`, (B, H, W) and (B, H, W, C). "
            f"Received: {maps.shape} and {images.shape}."
        )
    maps = np.stack([check_scoremap(each, f"map {i}") for i, each in enumerate(maps)])
    if labels is not None:
        labels = np.asarray(labels, np.int64)
        if labels.shape != images.shape[:1]:
            raise ValueError(
                f"`labels` must have shape ({len(images)},), one class for each image. "
                f"Received: shape {labels.shape}."
            )
    return images, maps, labels


def score_all(
    scores: Scores, changed: Iterable[tuple[NDArray, Any]], batch_size: int = BATCH
) -> Floats:
    """(n,) float64 scores of pairs of image and class, computed in batches of one size.

    Raises:
        ValueError: ``scores`` returns another shape, or values that are not finite.
    """
    found: list[float] = []
    changed = iter(changed)
    while pairs := list(islice(changed, batch_size)):
        images = np.stack([image for image, _ in pairs]).astype(np.float32)
        labels = np.array([label for _, label in pairs])
        fill = [(0, batch_size - len(pairs))]
        padded = np.pad(images, [*fill, *[(0, 0)] * 3]), np.pad(labels, fill)
        values = np.asarray(scores(*padded), np.float64)
        if values.shape != (batch_size,) or not np.isfinite(values).all():
            raise ValueError(
                f"`scores` must return a finite score for each image, ({batch_size},). Received: "
                f"shape {values.shape}, {np.count_nonzero(~np.isfinite(values))} not finite."
            )
        found += values[: len(pairs)].tolist()
    return np.array(found)


def _replaced(
    image: NDArray, other: NDArray, heatmap: NDArray, steps: int
) -> Iterable[NDArray[np.float32]]:
    """``image`` with more and more of ``other``, the pixels where the map is highest first."""
    order, mixed = highest_first(heatmap), np.array(image, np.float32).reshape(-1, image.shape[-1])
    other = np.asarray(other).reshape(mixed.shape)
    ends = np.linspace(0, order.size, steps + 1).round().astype(int)
    for start, end in zip([0, *ends], ends, strict=False):
        mixed[order[start:end]] = other[order[start:end]]
        yield mixed.reshape(image.shape).copy()


def _correlation(a: NDArray, b: NDArray) -> Floats:
    """(B,) Pearson's correlation of maps (B, H, W), 0 where one is constant."""
    a, b = (each - each.mean((1, 2), keepdims=True) for each in (a, b))
    spread = np.sqrt((a**2).sum((1, 2)) * (b**2).sum((1, 2)))
    flat = (np.ptp(a, axis=(1, 2)) == 0) | (np.ptp(b, axis=(1, 2)) == 0)
    return np.where(flat, 0.0, (a * b).sum((1, 2)) / np.where(flat, 1, spread))
