"""What a score map is, and how the benchmark makes one from a coarse CAM."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def check_scoremap(scoremap: ArrayLike, name: str = "`heatmap`") -> Floats:
    """Returns a score map as float64 after checking it.

    Args:
        scoremap: (height, width) floats in [0, 1]. The reference accepts float64 only; here any
            floating type is accepted, because models return float32.
        name: what to call it in errors, e.g. the image's id.

    Returns:
        The same values as a C-contiguous float64 array.

    Raises:
        TypeError: if it is not a tensor or array of floats.
        ValueError: if it is not 2-D, is empty, or contains NaN or values outside [0, 1].
    """
    dtype = getattr(scoremap, "dtype", None)
    if dtype is None:
        raise TypeError(
            f"{name} must be an array of floats. Received: {type(scoremap).__name__}. "
            "Convert it with numpy.asarray."
        )
    array = np.asarray(scoremap)
    if array.dtype.kind in "biucOSU":
        raise TypeError(
            f"{name} must contain floats in [0, 1]. Received: dtype {dtype}. Divide 8-bit maps by "
            "255.0."
        )
    if array.ndim != 2 or array.size == 0:
        raise ValueError(
            f"{name} must have shape (height, width). Received: {array.shape}. "
            "Give one channel of one image."
        )
    array = np.ascontiguousarray(array, dtype=np.float64)
    low, high = array.min(), array.max()
    if np.isnan(low):
        raise ValueError(
            f"{name} contains NaN at {int(np.isnan(array).sum())} of {array.size} pixels. "
            "normalize_cam turns such a map into zeros."
        )
    if low < 0 or high > 1:
        raise ValueError(
            f"{name} must lie in [0, 1]. Received: [{low:g}, {high:g}]. normalize_cam rescales a "
            "CAM."
        )
    return array


def normalize_cam(cam: ArrayLike, size: tuple[int, int] | None = (224, 224)) -> Floats:
    """Turns a coarse CAM into a score map as the benchmark does: cubic resize, then min-max.

    The cubic is OpenCV's ``INTER_CUBIC`` (a = -0.75; ``tf.image.resize`` uses -0.5 and differs
    by up to 0.09), the order matters, and a CAM with a NaN or without any spread gives zeros
    (Choe et al., "Evaluating WSOL methods right", CVPR 2020, released evaluation code).

    Args:
        cam: (h, w) activations of any range.
        size: (height, width) of the score map; None keeps the CAM's own.

    Returns:
        (height, width) float64 in [0, 1].

    Raises:
        ValueError: if ``cam`` is not 2-D or is empty, or ``size`` is not positive.
    """
    array = np.asarray(cam, dtype=np.float64)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(
            f"`cam` must have shape (h, w). Received: {array.shape}. Give one map at a time."
        )
    if size is not None:
        if min(size) < 1:
            raise ValueError(f"`size` must be positive (height, width). Received: {size}.")
        rows, columns = (_cubic(n, out) for n, out in zip(array.shape, size, strict=True))
        with np.errstate(invalid="ignore"):
            array = rows @ array @ columns.T
    if not np.isfinite(array).all() or array.min() == array.max():
        return np.zeros_like(array)
    array = array - array.min()
    return array / array.max()


def _cubic(source: int, target: int) -> Floats:
    """(target, source) interpolation matrix, in the precisions that OpenCV uses.

    Half-pixel centres, edges repeated, no antialiasing. Coordinates and the first three weights
    are float32 and the fourth is what is missing to one.
    """
    scale = 1 / (target / source)
    x = ((np.arange(target) + 0.5) * scale - 0.5).astype(np.float32)
    left = np.floor(x).astype(np.int64)
    t = x - left.astype(np.float32)
    a, one = np.float32(-0.75), np.float32(1)
    far = ((a * (t + one) - 5 * a) * (t + one) + 8 * a) * (t + one) - 4 * a
    near = ((a + 2) * t - (a + 3)) * t * t + one
    u = one - t
    next_ = ((a + 2) * u - (a + 3)) * u * u + one
    weights = np.stack([far, near, next_, one - far - near - next_]).astype(np.float64)
    matrix = np.zeros((target, source))
    for offset, weight in enumerate(weights, start=-1):
        column = np.clip(left + offset, 0, source - 1)
        np.add.at(matrix, (np.arange(target), column), weight)
    return matrix
