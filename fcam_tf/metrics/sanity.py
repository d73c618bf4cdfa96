"""Does a map depend on the model's weights, as it should, and little on noise in the image?

``make_maps`` is a function from images (B, H, W, C) and labels (B,) to maps (B, h, w).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from skimage.metrics import structural_similarity

from fcam_tf.metrics.scoremap import Floats

Maps = Callable[[NDArray, Any], Any]
SAMPLES = 10
RADIUS = 5.1  # 0.02 of the range of an image
_WINDOW = 7  # of SSIM, in pixels


def maximal_sensitivity(
    make_maps: Maps,
    images: ArrayLike,
    labels: Any,
    *,
    samples: int = SAMPLES,
    radius: float = RADIUS,
    seeds: Sequence[Any] | None = None,
) -> Floats:
    """How much a map changes at most if the image hardly changes (Yeh et al., NeurIPS 2019).

    ``max_d |M(x + d) - M(x)| / |M(x)|`` in Euclidean norms, over random d in [-radius, radius] for
    each value, drawn uniformly (equation 4, estimated by Monte Carlo, relative to the map). 0 is
    best, and there is no upper limit. A map of zeros is compared without the division. This costs
    samples + 1 maps per image.

    Args:
        make_maps: see this module.
        images: (B, H, W, C) in [0, 255]; random images are clipped to this range.
        labels: (B,) the explained classes.
        samples: random images for each image.
        radius: how far pixel values are moved.
        seeds: (B,) seeds of each image's noise, for ``numpy.random.default_rng``; None is 0, 1, ...

    Returns:
        (B,) float64.
    """
    images = np.asarray(images, np.float32)
    seeds = range(len(images)) if seeds is None else seeds
    draws = [np.random.default_rng(seed) for seed in seeds]
    first = _maps(make_maps, images, labels)
    largest = np.zeros(len(images))
    for _ in range(samples):
        noise = np.stack([rng.uniform(-radius, radius, images.shape[1:]) for rng in draws])
        moved = np.clip(images + noise, 0, 255).astype(np.float32)
        change = np.linalg.norm(_maps(make_maps, moved, labels) - first, axis=(1, 2))
        largest = np.maximum(largest, change)
    norm = np.linalg.norm(first, axis=(1, 2))
    return largest / np.where(norm > 0, norm, 1)


def randomisation(
    make_maps: Maps,
    images: ArrayLike,
    labels: Any,
    stages: Sequence[Sequence[Any]],
    *,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """How similar maps remain while the model's weights are randomised, from the head downwards.

    The cascading parameter randomisation of Adebayo et al. ("Sanity checks for saliency maps",
    NeurIPS 2018, section 4.1). At stage k the weights of stages 0 to k are random: each variable is
    permuted, which keeps its distribution. A map that explains the model changes; one that remains
    similar only shows the image's edges. The weights are restored, also after an error. This costs
    len(stages) + 1 maps per image.

    Args:
        make_maps: see this module; must read the weights on every call.
        images: (B, H, W, C).
        labels: (B,) the explained classes; without them the classes would change with the weights.
        stages: the Keras variables of each stage, the head's first.
        seed: seed of the permutations.

    Returns:
        Spearman's rank correlation in [-1, 1] of each map with the original, and their SSIM in
        [-1, 1], each (len(stages), B). A map that has become constant has rank correlation 0.
    """
    images = np.asarray(images)
    first = _maps(make_maps, images, labels)
    kept = [[np.array(variable) for variable in stage] for stage in stages]
    rng = np.random.default_rng(seed)
    found = []
    try:
        for stage, values in zip(stages, kept, strict=True):
            for variable, value in zip(stage, values, strict=True):
                variable.assign(rng.permutation(value.ravel()).reshape(value.shape))
            pairs = zip(first, _maps(make_maps, images, labels), strict=True)
            found.append([(rank_correlation(a, b), ssim(a, b)) for a, b in pairs])
    finally:
        for stage, values in zip(stages, kept, strict=True):
            for variable, value in zip(stage, values, strict=True):
                variable.assign(value)
    alike = np.array(found).reshape(len(stages), len(images), 2)
    return alike[..., 0], alike[..., 1]


def stages_from_head(model: Any, most: int) -> Iterator[tuple[str, list[Any]]]:
    """Yields a layer's name and the weights down to it, the head first, in at most ``most`` stages.

    The first stage is the head alone, the last ends at the first layer. Between them, layers are
    grouped in equal numbers.
    """
    layers = [layer for layer in _leaves(model) if layer.weights][::-1]
    ends = np.unique(np.linspace(1, len(layers), min(most, len(layers))).round().astype(int))
    seen: set[int] = set()
    for start, end in zip([0, *ends], ends, strict=False):
        weights = [w for layer in layers[start:end] for w in layer.weights if "seed" not in w.name]
        fresh = [weight for weight in weights if id(weight) not in seen]
        seen |= {id(weight) for weight in fresh}
        yield layers[end - 1].name, fresh


def _leaves(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        yield from _leaves(layer) if hasattr(layer, "layers") else (layer,)


def rank_correlation(a: NDArray, b: NDArray) -> float:
    """Spearman's rank correlation of two maps, 0 if one is constant."""
    a, b = (rankdata(each) - (each.size + 1) / 2 for each in (a, b))
    spread = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / spread if spread else 0.0


def ssim(a: NDArray, b: NDArray) -> float:
    """Structural similarity of two maps in [0, 1] (Wang et al., 2004), in windows of 7 pixels."""
    side = min(_WINDOW, *a.shape)
    options = {"data_range": 1.0, "use_sample_covariance": False}
    return float(structural_similarity(a, b, win_size=side - (side % 2 == 0), **options))


def _maps(make_maps: Maps, images: NDArray, labels: Any) -> Floats:
    maps = np.asarray(make_maps(images, labels), np.float64)
    if maps.ndim != 3 or len(maps) != len(images) or not np.isfinite(maps).all():
        raise ValueError(
            f"`make_maps` must return a finite map for each image, ({len(images)}, h, w). "
            f"Received: shape {maps.shape}."
        )
    return maps
