"""Heat maps in 256 levels, and the level that separates object from background."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.filters import threshold_otsu

LEVELS = 256


def to_levels(heatmap: ArrayLike) -> NDArray[np.uint8]:
    """Return a heat map in [0, 1] in 8 bits, truncated, not rounded.

    Source: what the evaluation code of Choe et al. (CVPR 2020) thresholds.
    """
    return (255 * np.asarray(heatmap, np.float64)).astype(np.uint8)


def otsu(counts: NDArray) -> int:
    """Return Otsu's threshold (1979) of the pixels in each bin: the largest variance between sides.

    That is the last bin of the background; where only one bin is used, that one.
    """
    used = np.flatnonzero(counts)
    low, high = int(used[0]), int(used[-1])
    if low == high:
        return low
    return int(threshold_otsu(hist=(counts[low : high + 1], np.arange(low, high + 1))))
