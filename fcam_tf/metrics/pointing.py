"""The pointing game: is a map's highest point on the object?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fcam_tf.masks import OBJECT
from fcam_tf.metrics.boxes import check_boxes
from fcam_tf.metrics.scoremap import check_scoremap

TOLERANCE = 15  # pixels


def pointing_game(
    heatmap: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    boxes: ArrayLike | None = None,
    tolerance: float = TOLERANCE,
) -> bool:
    """Tell whether the highest point of a map lies on the object, or close to it.

    The game of Zhang et al. ("Top-down neural attention by excitation backprop", IJCV 2018, section
    4.1): a hit is a point at most 15 pixels from the object. The metric is the fraction of hits;
    the paper takes the mean over classes, in the photo's own pixels. Among several highest points
    the first in reading order counts. A constant map points nowhere and is not a hit.

    Args:
        heatmap: (H, W) floats in [0, 1].
        mask: (H, W) 1 object, 0 background, 255 ignored; used instead of the boxes if given.
        boxes: (n, 4) int x0, y0, x1, y1, inclusive.
        tolerance: in pixels of the map.

    Raises:
        TypeError, ValueError: the map or the boxes are malformed, the mask has another shape, or
            both are None.

    Examples:
        >>> heatmap = np.zeros((100, 100))
        >>> heatmap[50, 60] = 1
        >>> fcam_tf.metrics.pointing_game(heatmap, boxes=[[0, 0, 50, 50]])  # 10 beside it
        True
    """
    scores = check_scoremap(heatmap)
    y, x = np.unravel_index(scores.argmax(), scores.shape)
    if mask is not None:
        mask = np.asarray(mask)
        if mask.shape != scores.shape:
            raise ValueError(f"`mask` must have shape {scores.shape}. Received: {mask.shape}.")
        rows, columns = np.nonzero(mask == OBJECT)
        distances = np.hypot(rows - y, columns - x)
    elif boxes is not None:
        x0, y0, x1, y1 = check_boxes(boxes).T
        distances = np.hypot(np.clip(x, x0, x1) - x, np.clip(y, y0, y1) - y)
    else:
        raise ValueError("`mask` or `boxes` must be given.")
    return bool(np.ptp(scores) > 0 and (distances <= tolerance).any())
