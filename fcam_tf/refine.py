"""Heat maps that follow the edges of the photo: inference in a dense CRF, with one preset."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from fcam_tf import checks, ops
from fcam_tf import lazy_tensorflow as tf
from fcam_tf.graphs.ranges import expect_raw_pixels
from fcam_tf.graphs.resize import resize
from fcam_tf.ops.crf import CLIP

CRF = "crf"
MAX_PIXELS = 12_000_000  # of a photo that is refined; `fcam localize` then takes about 2 GB
_WEIGHT, _SIGMA_XY, _SIGMA_RGB, _ITERATIONS = 2.0, 100.0, 15.0, 5
_SLACK = 1e-3  # what rounding may add to a map
_SIDE = 224  # of the square for which the sigma in pixels was chosen


def check_refine(refine: str | None) -> None:
    """Raise a ValueError unless ``refine`` is "crf" or None."""
    if refine is not None:
        checks.choice("refine", refine, [CRF])


def refine_maps(maps: Any, images: Any) -> np.ndarray:
    """Align heat maps with their images by mean field in a dense CRF, at the images' resolution.

    A value of a map is taken for the probability that the pixel belongs to the object. The kernel
    is bilateral, of weight 2, 15 grey levels, and 100 pixels in a square of 224 (in proportion to
    the root of the number of pixels elsewhere); there are five iterations. See `ops.dense_crf`
    (Krähenbühl and Koltun, NIPS 2011).

    Args:
        maps: (B, h, w) in [0, 1] at any resolution; NaN counts as 0.
        images: (B, H, W, 3) or (B, H, W, 1), raw, in [0, 255], uint8 or float; floats that look
            like [0, 1] are warned of.

    Returns:
        (B, H, W) float32 in [0, 1].

    Raises:
        ValueError: shapes that do not fit together, maps that are not in [0, 1], or images that are
            not finite.
    """
    images = keras.ops.convert_to_numpy(images)
    maps = np.nan_to_num(np.asarray(keras.ops.convert_to_numpy(maps), np.float32))
    if maps.ndim != 3 or images.ndim != 4 or len(maps) != len(images):
        raise ValueError(
            "`maps` must be (B, h, w) and `images` (B, H, W, 3 or 1). Received: maps of shape "
            f"{maps.shape} and images of shape {images.shape}."
        )
    if maps.size and (maps.min() < -_SLACK or maps.max() > 1 + _SLACK):
        raise ValueError(
            f"`maps` must be in [0, 1]. Received: {maps.min():g} to {maps.max():g}. Divide maps of "
            "8 bits by 255."
        )
    expect_raw_pixels(images)
    height, width = images.shape[1:3]
    maps = np.clip(keras.ops.convert_to_numpy(resize(maps[..., None], (height, width))), 0, 1)
    sigma_xy = _SIGMA_XY * math.sqrt(height * width) / _SIDE
    # Energies are made in place, and one class is copied: at 12 megapixels each map takes 48 MB.
    energies: Any = np.empty((*maps.shape[:3], 2), np.float32)
    np.subtract(1, maps[..., 0], out=energies[..., 0])
    energies[..., 1] = maps[..., 0]
    del maps
    np.negative(np.log(np.maximum(energies, CLIP, out=energies), out=energies), out=energies)
    energies = tf.convert_to_tensor(energies)  # a copy: the array is gone before the lattice comes
    marginals = ops.dense_crf(
        images=images,
        unaries=energies,
        bilateral=(_WEIGHT, sigma_xy, _SIGMA_RGB),
        iterations=_ITERATIONS,
    )
    return np.ascontiguousarray(marginals.numpy()[..., 1])
