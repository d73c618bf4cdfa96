"""Tokens of a transformer, (batch, tokens, channels), as maps of the image."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from keras import ops

Grid = tuple[int, int]
# Class, distillation and register tokens that may stand before those of the patches.
_MOST_EXTRA = 8


def to_map(tensor: Any, grid: Grid | None) -> Any:
    """Return tokens (B, N, C) as a map (B, h, w, C): the last h * w of them, row by row.

    A ``grid`` of None is a map, which is returned as it is.
    """
    if grid is None:
        return tensor
    height, width = grid
    patches = tensor[:, -height * width :]
    return ops.reshape(patches, (-1, height, width, ops.shape(tensor)[-1]))


def to_tokens(maps: Any, grid: Grid | None) -> Any:
    """Return maps (B, h, w, C) as tokens (B, h * w, C), the inverse of `to_map` without extras."""
    if grid is None:
        return maps
    return ops.reshape(maps, (-1, math.prod(grid), ops.shape(maps)[-1]))


def fits(grid: Grid, tokens: int | None) -> bool:
    """Tell whether tokens can be a grid that class and register tokens precede."""
    return tokens is None or 0 <= tokens - math.prod(grid) <= _MOST_EXTRA


def find_grid(
    tokens: int | None, sides: tuple[int | None, int | None], maps: Iterable[Grid]
) -> Any:
    """Return (height, width) of the grid that tokens come from, or None if it is not known.

    Args:
        tokens: their number, including extra ones.
        sides: (height, width) of the image.
        maps: (height, width) of maps that the tokens were computed from, the nearest first. If
            there are any, one of them must fit: a sequence that was made in another way, such as
            the columns of a text line, is not a grid. Without any, patches must be squares of whole
            pixels.
    """
    maps = list(maps)
    height, width = sides
    if tokens is None or height is None or width is None:
        return None
    if maps:
        return next((grid for grid in maps if fits(grid, tokens)), None)
    common = math.gcd(height, width)
    squares = [(height // p, width // p) for p in range(2, common + 1) if common % p == 0]
    # The finest that fits leaves the fewest tokens over.
    return next((grid for grid in squares if min(grid) > 1 and fits(grid, tokens)), None)
