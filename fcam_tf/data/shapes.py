"""A generated data set for demos and tests: textured shapes in front of textured backgrounds.

The class is the outline and nothing else: object, background and distractors take their
colours and textures from the same distributions, and distractors (bars and irregular blobs) can
be as large as objects. Everything follows from the seed.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcam_tf.atomic import new_folder
from fcam_tf.data.wsol import Image, write_split
from fcam_tf.masks import box_of

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

CLASSES = ("disc", "square", "triangle", "cross", "star")
COUNTS = {"train": 250, "val": 50, "test": 100}


class Shapes(NamedTuple):
    """One picture.

    Attributes:
        image: (H, W, 3) uint8.
        label: index into ``CLASSES``.
        masks: for each instance, mostly one, its visible (H, W) pixels.
        boxes: (n, 4) int64 inclusive x0, y0, x1, y1 of the masks.
    """

    image: NDArray[np.uint8]
    label: int
    masks: list[Mask]
    boxes: NDArray[np.int64]


def draw_shapes(label: int, seed: int | tuple[int, ...], size: int = 128) -> Shapes:
    """Draws one picture.

    Args:
        label: class of the object, index into ``CLASSES``.
        seed: the same seed gives the same picture.
        size: side of the picture, about: height and width vary by a fifth.

    Raises:
        ValueError: for a label out of range or a size below 32.
    """
    if not 0 <= label < len(CLASSES):
        raise ValueError(
            f"`label` must be in [0, {len(CLASSES)}), an index into {CLASSES}. Received: {label}."
        )
    if size < 32:
        raise ValueError(f"`size` must be 32 or more. Received: {size}.")
    rng = np.random.default_rng(seed)
    height, width = (size * rng.uniform(0.8, 1.2, 2)).astype(int)
    canvas = _texture(rng, height, width)
    grain = rng.normal(0, 5, canvas.shape)
    for _ in range(rng.integers(2, 5)):
        distractor = _bar if rng.random() < 0.4 else _blob
        _paint(canvas, distractor(*_frame(rng, height, width, 0.08, 0.25), rng), rng)
    masks: list[Mask] = []
    for scale in [(0.18, 0.38)] if rng.random() < 0.8 else [(0.15, 0.24)] * 2:
        for _ in range(20):
            mask = _OUTLINES[label](*_frame(rng, height, width, *scale))
            if not any((mask & other).any() for other in masks):
                _paint(canvas, mask, rng)
                masks.append(mask)
                break
    image = np.clip(canvas + grain, 0, 255).astype(np.uint8)
    return Shapes(image, label, masks, np.array([box_of(mask) for mask in masks]))


def write_shapes(
    root: str | Path, counts: Mapping[str, int] = COUNTS, size: int = 128, seed: int = 0
) -> Path:
    """Writes the data set in the benchmark's layout, with boxes and masks for all splits.

    Args:
        root: folder to make; must not exist. It appears only when it is complete.
        counts: number of images of each split; classes take turns.
        size: about the side of the pictures in pixels.
        seed: of everything; splits and pictures are independent of each other's counts.

    Returns:
        The folder, for ``load_wsol``.

    Raises:
        FileExistsError: if ``root`` exists.

    Examples:
        >>> folder = fcam_tf.data.write_shapes("few-shapes", {"train": 4, "test": 2}, size=32)
        >>> split = fcam_tf.data.load(folder, "test")
        >>> len(split.ids), split.boxes is not None, split.masks is not None
        (2, True, True)
    """
    root = Path(root)
    with new_folder(root) as unfinished:
        (unfinished / "class_names.txt").write_text("\n".join(CLASSES) + "\n")
        for split, count in counts.items():
            salt = int.from_bytes(split.encode(), "little")
            write_split(unfinished, split, _pictures(split, count, size, (seed, salt)))
    return root


def _pictures(split: str, count: int, size: int, seed: tuple[int, int]) -> Iterator[Image]:
    for i in range(count):
        image, label, masks, boxes = draw_shapes(i % len(CLASSES), (*seed, i), size)
        name, shape = f"{split}_{i:05d}.png", image.shape[1::-1]
        yield Image(name, label, image, shape, boxes.tolist(), masks)


def _frame(
    rng: np.random.Generator, height: int, width: int, low: float, high: float
) -> tuple[Floats, Floats]:
    """Coordinates in which the shape to draw has radius 1, turned and placed at random."""
    radius = rng.uniform(low, high) * min(height, width)
    # A corner of the square reaches to 1.42 radii in the worst turn.
    reach = min(1.42 * radius, 0.48 * min(height, width))
    x = np.arange(width) - rng.uniform(reach, width - 1 - reach)
    y = np.arange(height)[:, None] - rng.uniform(reach, height - 1 - reach)
    turn = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(turn) / radius, np.sin(turn) / radius
    return x * cos + y * sin, y * cos - x * sin


def _spikes(u: Floats, v: Floats, corners: int, inner: float) -> Mask:
    """A star with the given number of corners at radius 1.25 and notches at ``inner`` of that."""
    angle = np.arctan2(v, u) % (2 * np.pi / corners)
    angle = np.minimum(angle, 2 * np.pi / corners - angle)
    half = np.pi / corners
    # The edge from the corner (1, 0) to the notch at (inner, half), as radius by angle.
    edge = inner * np.sin(half) / (inner * np.sin(half - angle) + np.sin(angle))
    return np.hypot(u, v) <= 1.25 * edge


_OUTLINES: tuple[Callable[[Floats, Floats], Mask], ...] = (  # of `CLASSES`
    lambda u, v: u**2 + v**2 <= 1,
    lambda u, v: np.maximum(np.abs(u), np.abs(v)) <= 0.9,
    lambda u, v: _spikes(u, v, corners=3, inner=0.5),
    lambda u, v: (
        (np.maximum(np.abs(u), np.abs(v)) <= 1.1) & (np.minimum(np.abs(u), np.abs(v)) <= 0.36)
    ),
    lambda u, v: _spikes(u, v, corners=5, inner=0.45),
)


def _bar(u: Floats, v: Floats, rng: np.random.Generator) -> Mask:
    return (np.abs(u) <= 1.8) & (np.abs(v) <= rng.uniform(0.12, 0.3))


def _blob(u: Floats, v: Floats, rng: np.random.Generator) -> Mask:
    angle = np.arctan2(v, u)
    edge = np.ones_like(angle)
    for waves in range(1, 5):
        edge = edge + rng.uniform(0.1, 0.28) * np.sin(waves * angle + rng.uniform(0, 6.3))
    return np.hypot(u, v) <= edge


def _paint(canvas: Floats, mask: Mask, rng: np.random.Generator) -> None:
    canvas[mask] = _texture(rng, *mask.shape)[mask]


def _texture(rng: np.random.Generator, height: int, width: int) -> Floats:
    """(height, width, 3): a pattern that wavers between two random colours."""
    x, y = np.arange(width), np.arange(height)[:, None]
    turn, period = rng.uniform(0, np.pi), rng.uniform(5, 18)
    u = (x * np.cos(turn) + y * np.sin(turn)) * 2 * np.pi / period
    v = (y * np.cos(turn) - x * np.sin(turn)) * 2 * np.pi / period
    patterns = (
        lambda: np.sin(u),
        lambda: np.sign(np.sin(u) * np.sin(v)),
        lambda: np.sin(u + 2 * np.sin(v / 2)),
        lambda: np.sin(u) * np.sin(v),
        lambda: np.kron(rng.uniform(-1, 1, (height // 3 + 1, width // 3 + 1)), np.ones((3, 3)))[
            :height, :width
        ],
    )
    pattern = patterns[rng.integers(len(patterns))]()
    middle = rng.uniform(40, 215, 3)
    swing = rng.normal(0, 28, 3)
    return middle + pattern[..., None] * swing
