"""ROAD (remove and debias): the score while pixels are imputed from the rest of the image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from fcam_tf.metrics.perturbation import BATCH, Scores, check_explained, highest_first, score_all
from fcam_tf.metrics.scoremap import Floats

FRACTIONS = (0.1, 0.3, 0.5)
NOISE = 2.55  # 0.01 of the range of an image
_STRAIGHT, _DIAGONAL = 1 / 6, 1 / 12


def road_curves(
    scores: Scores,
    images: ArrayLike,
    maps: ArrayLike,
    labels: ArrayLike,
    *,
    fractions: Sequence[float] = FRACTIONS,
    seeds: Sequence[Any] | None = None,
    batch_size: int = BATCH,
) -> tuple[Floats, Floats]:
    """The score without the most relevant, and without the least relevant pixels (MoRF and LeRF).

    Rong et al., "A consistent and efficient evaluation strategy for attribution methods", ICML
    2022. Removed pixels are replaced by ``noisy_linear_imputation``, so that their shape does not
       reveal the class. A good map has a low MoRF and a high LeRF curve; half the mean of their
       difference, ``road_score``, summarises both. This costs 2 len(fractions) forward passes per
       image, and as many sparse linear systems, which take longer: seconds for half of 224 x 224
       pixels.

    Args:
        scores: see `fcam_tf.metrics.perturbation`.
        images: (B, H, W, C).
        maps: (B, H, W) in [0, 1].
        labels: (B,) the explained classes.
        fractions: fractions of the pixels that are removed, in (0, 1).
        seeds: (B,) seeds of each image's noise, for ``numpy.random.default_rng``; None is 0, 1, ...
        batch_size: images for one call of ``scores``.

    Returns:
        MoRF and LeRF, each (B, len(fractions)) float64.

    Raises:
        TypeError, ValueError: see ``deletion_curve``, or a fraction is outside of (0, 1).
    """
    pixels, heatmaps, classes = check_explained(images, maps, labels)
    if not len(fractions) or not all(0 < fraction < 1 for fraction in fractions):
        raise ValueError(f"`fractions` must lie in (0, 1). Received: {fractions}.")
    seeds = range(len(pixels)) if seeds is None else seeds

    def changed() -> Iterable[tuple[NDArray, Any]]:
        for image, heatmap, label, seed in zip(pixels, heatmaps, classes, seeds, strict=True):
            most = highest_first(heatmap)
            for order in (most, most[::-1]):
                for fraction in fractions:
                    hidden = np.zeros(heatmap.size, bool)
                    hidden[order[: round(fraction * heatmap.size)]] = True
                    hidden = hidden.reshape(heatmap.shape)
                    yield noisy_linear_imputation(image, hidden, seed=seed), label

    found = score_all(scores, changed(), batch_size).reshape(len(pixels), 2, len(fractions))
    return found[:, 0], found[:, 1]


def road_score(morf: ArrayLike, lerf: ArrayLike) -> Floats:
    """(B,) mean over the fractions of ``(LeRF - MoRF) / 2``, in [-0.5, 0.5]; larger is better."""
    return (np.asarray(lerf) - np.asarray(morf)).mean(axis=1) / 2


def noisy_linear_imputation(
    image: ArrayLike, hidden: ArrayLike, *, noise: float = NOISE, seed: Any = 0
) -> NDArray[np.float32]:
    """The image, where each hidden pixel is the weighted mean of its neighbours, plus noise.

    Direct neighbours have weight 1/6 and diagonal ones 1/12; those outside of the image have none.
    All hidden pixels are computed at once, with a sparse linear system (Rong et al., section 4.2).

    Args:
        image: (H, W, C).
        hidden: (H, W) bool.
        noise: standard deviation of the Gaussian noise on hidden pixels, in the image's units.
        seed: of the noise.

    Returns:
        (H, W, C) float32.

    Raises:
        ValueError: the shapes do not fit, or all pixels are hidden.
    """
    image, hidden = np.array(image, np.float32), np.asarray(hidden, bool)
    if image.ndim != 3 or hidden.shape != image.shape[:2] or hidden.all():
        raise ValueError(
            "`hidden` must be (height, width) of `image` and leave a pixel. Received: "
            f"{hidden.shape} for an image of {image.shape}, {hidden.mean():.0%} hidden."
        )
    rows, columns = np.nonzero(hidden)
    if not rows.size:
        return image
    places = np.full(hidden.shape, -1)
    places[hidden] = np.arange(rows.size)
    total, known = np.zeros(rows.size), np.zeros((rows.size, image.shape[-1]))
    entries = []
    for dy, dx in np.ndindex(3, 3):
        if dy == dx == 1:
            continue
        weight = _STRAIGHT if 1 in (dy, dx) else _DIAGONAL
        y, x = rows + dy - 1, columns + dx - 1
        inside = (y >= 0) & (y < hidden.shape[0]) & (x >= 0) & (x < hidden.shape[1])
        mine, y, x = np.flatnonzero(inside), y[inside], x[inside]
        total[mine] += weight
        theirs = places[y, x]
        visible = theirs < 0
        known[mine[visible]] += weight * image[y[visible], x[visible]]
        entries.append((np.full(mine.size, -weight)[~visible], mine[~visible], theirs[~visible]))
    values, first, second = map(np.concatenate, zip(*entries, strict=True))
    system = sparse.coo_matrix((values, (first, second)), (rows.size, rows.size))
    system = (system + sparse.diags(total)).tocsc()
    # Symmetric and diagonally dominant: no pivots are needed.
    solver = splu(system, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    drawn = np.random.default_rng(seed).normal(0, noise, known.shape)
    image[hidden] = solver.solve(known) + drawn
    return image
