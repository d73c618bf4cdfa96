"""Connected components of all thresholds of an 8-bit image at once, with their bounding boxes.

The components of ``{image >= level}`` over all levels form a tree (the max-tree: Salembier et
al., IEEE TIP 1998). It is built here from vectorised steps only:

1. Every row is cut at its valleys into unimodal *runs*. The part of a run at or above any level
   is connected, so components are unions of runs and the pixels need not be visited one by one.
2. Runs are the nodes and touching runs the edges of a graph. In Boruvka rounds each run joins, at
   its highest saddle, a neighbour with a higher peak. Runs that join at their own peak were never
   apart: what remains are the *hills*, few in a smooth image.
3. A component is named by its highest hill. Extreme coordinates enter the tree at the peaks of
   row runs (y) and of column runs (x) and are accumulated towards the root.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcam_tf.grey_levels import LEVELS

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


class Forest(NamedTuple):
    """Which runs form a hill, which hill joins which, and at what level.

    Both are numbered by rising peak, so the last one is the highest.
    """

    run_of: Ints  # (height * width,) run of each pixel
    row: Ints  # (runs,) image row of each run
    peak: Ints  # (runs,) highest level in each run
    hill_of: Ints  # (runs,) the hill that the run's peak is connected to at its own level
    parent: Ints  # (hills,) hill with a higher peak that this one joins; the highest has itself
    saddle: Ints  # (hills,) level at which it joins, -1 for the highest hill


class Components(NamedTuple):
    """The distinct components of all thresholds."""

    hill: Ints  # (n,) the highest hill inside
    level: Ints  # (n,) highest level at which the component exists
    below: Ints  # (n,) level at which it is part of the next larger one, -1 for the whole image
    parent: Ints  # (n,) index of that larger one; the whole image has itself
    corners: Ints  # (4, n) inclusive x0, y0, x1, y1
    # (height * width,) component of each pixel at the pixel's own level; empty if not asked for.
    of_pixel: Ints


def build_forest(image: Bytes, connectivity: int) -> Forest:
    """Joins the runs of a (height, width) image under 4- or 8-connectivity."""
    starts = _run_starts(image)
    first = np.flatnonzero(starts)
    peak = np.maximum.reduceat(image.ravel(), first)
    order = np.argsort(peak, kind="stable")
    rank = np.empty(order.size, np.min_scalar_type(order.size))  # small: a copy for each pixel
    rank[order] = np.arange(order.size)
    run_of = np.repeat(rank, np.diff(first, append=image.size))
    parent, saddle = _join(*_edges(image, starts, run_of, connectivity), order.size)
    row = first[order] // image.shape[1]
    peak = peak[order].astype(np.int64)

    summit = saddle < peak
    *_, summit_of = ancestors(np.where(summit, np.arange(order.size), parent))
    hill_of = (np.cumsum(summit) - 1)[summit_of]
    return Forest(run_of, row, peak, hill_of, hill_of[parent[summit]], saddle[summit])


def joins_highest_at(forest: Forest) -> Ints:
    """(hills,) level at which each hill joins the highest one (255 for that itself)."""
    saddle = np.where(forest.saddle < 0, LEVELS - 1, forest.saddle)
    return list(_lifts(forest.parent, saddle))[-1][1]


def components(forest: Forest, image: Bytes, *, with_pixels: bool = False) -> Components:
    """Lists the components of all thresholds of the image that ``forest`` was built from.

    Without ``with_pixels`` a component that differs from the next larger one in no coordinate and
    no neighbour is left out: the same boxes at every level, from fewer nodes.
    """
    column_run, column, column_peak = _column_peaks(image, forest.run_of)
    hills = forest.parent.size
    joining = np.arange(hills - 1)
    entering = [forest.hill_of, forest.hill_of[column_run], joining]
    levels = [forest.peak, column_peak, forest.saddle[joining]]
    if with_pixels:
        entering.append(forest.hill_of[forest.run_of])
        levels.append(image.ravel().astype(np.int64))
    ends = np.cumsum([part.size for part in entering])
    level = np.concatenate(levels)
    key = _climb(forest, np.concatenate(entering), level) * LEVELS + level

    present = np.zeros(hills * LEVELS, bool)
    present[key] = True
    keys = np.flatnonzero(present)  # by hill, then level: what one hill names is one chain
    index = np.empty(present.size, np.int64)
    index[keys] = np.arange(keys.size)
    of_row, of_column, of_saddle, of_pixel = np.split(index[key], ends[:3])

    hill, level = np.divmod(keys, LEVELS)
    bottom = np.flatnonzero(np.diff(hill, prepend=-1))
    parent = np.arange(-1, keys.size - 1)
    parent[bottom[:-1]] = of_saddle
    parent[bottom[-1]] = bottom[-1]
    below = level[parent]
    below[bottom[-1]] = -1

    corners = np.full((4, keys.size), -image.size)
    np.maximum.at(corners[0], of_column, -column)
    np.maximum.at(corners[1], of_row, -forest.row)
    np.maximum.at(corners[2], of_column, column)
    np.maximum.at(corners[3], of_row, forest.row)
    for ancestor in ancestors(parent):
        for corner in corners:
            np.maximum.at(corner, ancestor, corner)
    corners[:2] *= -1
    return Components(hill, level, below, parent, corners, of_pixel)


def ancestors(parent: Ints) -> Iterator[Ints]:
    """Yields the 1st, 2nd, 4th, 8th... ancestor of every node until all have reached a root.

    Pushing a value to each yielded ancestor in turn pushes it to all ancestors.
    """
    while True:
        yield parent
        further = parent[parent]
        if (further == parent).all():
            return
        parent = further


def _run_starts(image: Bytes) -> NDArray[np.bool_]:
    """Marks the first pixel of each run: a row is cut where it rises after having fallen."""
    flat = image.ravel()
    rising, change = np.zeros(flat.size, bool), np.zeros(flat.size, np.uint8)
    np.greater(flat[1:], flat[:-1], out=rising[1:])
    np.less(flat[1:], flat[:-1], out=change[1:].view(bool))
    change <<= 1
    change |= rising  # the last change up to a pixel: 1 rise, 2 fall, 0 not known yet
    change.reshape(image.shape)[:, 0] = 1
    shift = 1
    while (unknown := change == 0).any():  # a plateau takes over what came before it
        change[shift:] |= change[:-shift] * unknown[shift:]
        shift *= 2
    rising[1:] &= change[:-1] == 2
    starts = rising.reshape(image.shape)
    starts[:, 0] = True
    return starts


def _edges(
    image: Bytes, starts: NDArray[np.bool_], run_of: Ints, connectivity: int
) -> tuple[Ints, Ints, Ints]:
    """Pairs of touching runs and the highest level at which the two are connected directly."""
    height, width = image.shape
    flat = image.ravel()
    right = np.flatnonzero(starts)
    right = right[right % width != 0]
    one, other, saddle = [right - 1], [right], [flat[right - 1]]
    if height > 1:
        # Along a pair of rows, the same two runs touch between two neighbouring cuts.
        upper = np.flatnonzero(starts[:-1] | starts[1:])
        one.append(upper)
        other.append(upper + width)
        saddle.append(np.maximum.reduceat(np.minimum(image[:-1], image[1:]).ravel(), upper))
    if connectivity == 8:
        # A diagonal counts only where both pixels beside it are lower than its two ends.
        a, b, c, d = image[:-1, :-1], image[:-1, 1:], image[1:, :-1], image[1:, 1:]
        down, up = np.minimum(a, d), np.minimum(b, c)
        for low, beside, start, step in (
            (down, np.maximum(b, c), 0, width + 1),
            (up, np.maximum(a, d), 1, width - 1),
        ):
            place = np.flatnonzero(low > beside)
            pixel = place + place // max(width - 1, 1) + start
            one.append(pixel)
            other.append(pixel + step)
            saddle.append(low.ravel()[place])
    return (
        run_of[np.concatenate(one)].astype(np.int64),
        run_of[np.concatenate(other)].astype(np.int64),
        np.concatenate(saddle).astype(np.int64),
    )


def _join(one: Ints, other: Ints, saddle: Ints, count: int) -> tuple[Ints, Ints]:
    """Boruvka rounds: each run joins its best neighbour if that one has the higher peak.

    The highest of all saddles always lets one run join, so every round makes progress; a group
    of joined runs goes on as its highest run.
    """
    parent = np.arange(count)
    joins_at = np.full(count, -1)
    while one.size:
        best = np.zeros(count, np.int64)
        rank = (saddle + 1) * count
        np.maximum.at(best, one, rank + other)
        np.maximum.at(best, other, rank + one)
        target = best % count
        joining = np.flatnonzero((best > 0) & (target > np.arange(count)))
        target = target[joining]
        parent[joining] = target
        joins_at[joining] = best[joining] // count - 1
        group = np.arange(count)
        group[joining] = target
        *_, group = ancestors(group)
        one, other = group[one], group[other]
        apart = np.flatnonzero(one != other)
        one, other, saddle = one[apart], other[apart], saddle[apart]
    return parent, joins_at


def _column_peaks(image: Bytes, run_of: Ints) -> tuple[Ints, Ints, Ints]:
    """For each run of each column: the row run at its peak, the column, the peak's level."""
    height, width = image.shape
    columns = np.ascontiguousarray(image.T)
    first = np.flatnonzero(_run_starts(columns))
    small = np.dtype(np.uint16 if height <= 256 else np.uint32)
    bits = 8 * (small.itemsize - 1)
    tagged = (columns.astype(small) << bits) | np.arange(height, dtype=small)
    top = np.maximum.reduceat(tagged.ravel(), first).astype(np.int64)
    level, row = top >> bits, top & ((1 << bits) - 1)
    column = first // height
    return run_of[row * width + column], column, level


def _lifts(parent: Ints, saddle: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Yields the 1st, 2nd, 4th... ancestor of each hill and the lowest saddle on the way there."""
    for ancestor in ancestors(parent):
        yield ancestor, saddle
        saddle = np.minimum(saddle, saddle[ancestor])


def _climb(forest: Forest, hill: Ints, level: Ints) -> Ints:
    """The highest hill that each ``hill`` is connected to at ``level``."""
    for ancestor, saddle in reversed(list(_lifts(forest.parent, forest.saddle))):
        hill = np.where(saddle[hill] >= level, ancestor[hill], hill)
    return hill
