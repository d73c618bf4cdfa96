"""What coarse resolution alone costs: PxAP of the true mask, scaled down and back up.

Source: F-CAM (Belharbi et al., WACV 2022), supplement, section 4, figures 3 and 4. No code of it
is published. The supplement leaves open how masks are scaled: here it is bilinear with half-pixel
centres, by factors that divide the frame, without antialiasing and with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from keras import ops
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from skimage.transform import resize

from fcam_tf.data import Split
from fcam_tf.evaluation.scores import read_truth
from fcam_tf.evaluation.sources import FRAME
from fcam_tf.masks import IGNORED, OBJECT
from fcam_tf.metrics import PxAP
from fcam_tf.names import pixels
from fcam_tf.report.figures import COLOURS, line_styles

# Of lines, as many as differ; the first two colours are for masks.
_DASHES = (":", "-.", "--", "-")
_LINES = [
    *line_styles(COLOURS[2:], _DASHES),
    *line_styles(("#c2185b", "#6d4c41", "#00838f", "#9e9d24"), _DASHES),
]
SCALES = (1, 2, 4, 7, 8, 14, 16, 28, 32)  # those of the supplement's maps, and between


class Row(NamedTuple):
    """One factor of the simulation."""

    scale: int  # z
    side: int  # of the small mask, in pixels
    pxap: float  # percent, of masks scaled down by interpolation alone
    antialiased: float  # percent, of masks that were smoothed first


def scaled_masks(
    truth: NDArray[np.uint8], scale: int, *, antialias: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scale the object of a mask down by ``scale``, and back up.

    Args:
        truth: (H, W) 1 object, 0 background, 255 ignored, which is scaled as background.
        scale: z, which divides H and W.
        antialias: whether all pixels count when it is scaled down; else only those nearest to the
            centre of a new one: on each axis one where ``scale`` is odd, two where it is even.

    Returns:
        (H / z, W / z) and (H, W) float32 in [0, 1].

    Raises:
        ValueError: ``scale`` does not divide the sides.
    """
    height, width = truth.shape
    if scale < 1 or height % scale or width % scale:
        raise ValueError(
            f"`scale` must divide the sides of the mask, {height}x{width} pixels. "
            f"Received: {scale}."
        )
    mask = (truth == OBJECT).astype("float32")[None, ..., None]
    size = (height // scale, width // scale)
    layout = {"interpolation": "bilinear", "data_format": "channels_last"}
    small = ops.image.resize(mask, size, antialias=antialias, **layout)
    large = ops.image.resize(small, (height, width), **layout)
    # Weights that add up to 1 may exceed it by rounding.
    small, large = (np.clip(ops.convert_to_numpy(x)[0, ..., 0], 0, 1) for x in (small, large))
    return small, large


def simulate(split: Split, scales: Sequence[int] = SCALES, frame: int = FRAME) -> list[Row]:
    """Measure a split's masks at each factor, pooled over the images as PxAP does.

    Args:
        split: with masks.
        scales: the factors z, each dividing ``frame``.
        frame: side of the square to which masks are resized first (nearest, as the benchmark).

    Returns:
        A row for each factor, in the order given. Ignored pixels are left out.

    Raises:
        ValueError: the split has no masks, one is malformed, or a factor does not divide the frame.
        RuntimeError: no mask has an object.
        OSError: a mask cannot be read.
    """
    check_masks(split)
    metrics = {scale: (PxAP(), PxAP()) for scale in scales}
    for index, name in enumerate(split.ids):
        truth = read_truth(split, index, frame)["mask"]
        for scale, pair in metrics.items():
            for antialias, metric in enumerate(pair):
                _, large = scaled_masks(truth, scale, antialias=bool(antialias))
                metric.update_state([large], [truth], [name])
    return [
        Row(scale, frame // scale, plain.result(), smooth.result())
        for scale, (plain, smooth) in metrics.items()
    ]


def draw_curve(rows: Sequence[Row], reached: Mapping[str, float], seeds: str = "") -> Figure:
    """Draw PxAP against the factor (figure 3).

    Args:
        rows: of ``simulate``.
        reached: PxAP in percent of maps measured on the same masks, by what made them; each
            becomes a line.
        seeds: of how many trainings these are means.
    """
    figure = Figure(figsize=(6.8, 3.8 + 0.11 * len(reached)), layout="constrained")
    axes = figure.subplots()
    scales = [row.scale for row in rows]
    axes.plot(scales, [row.pxap for row in rows], "o-", color=COLOURS[0], label="true mask")
    smooth = [row.antialiased for row in rows]
    axes.plot(scales, smooth, "s--", color=COLOURS[1], label="true mask, antialiased")
    for number, (name, value) in enumerate(sorted(reached.items(), key=lambda item: -item[1])):
        axes.axhline(value, label=f"{name}: {value:.1f}", lw=1.3, **_LINES[number % len(_LINES)])
    axes.set_xscale("log", base=2)
    axes.minorticks_off()
    axes.set_xticks(scales, [f"{row.scale}\n{row.side}" for row in rows], fontsize=8.5)
    axes.set(xlabel="factor z (above), side of the small mask in pixels (below)", ylabel="PxAP, %")
    axes.set_title(f"True masks scaled down by z and back up{seeds and f'; methods: {seeds}'}")
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def first_with_object(split: Split, frame: int = FRAME) -> int:
    """Return the index of the first photo in whose mask there is an object; 0 where none has one.

    A small object may vanish when the mask is resized to the frame, and has no PxAP then.
    """
    check_masks(split)
    masks = (read_truth(split, index, frame)["mask"] for index in range(len(split)))
    return next((index for index, mask in enumerate(masks) if (mask == OBJECT).any()), 0)


def draw_examples(
    split: Split, index: int, scales: Sequence[int] = SCALES, frame: int = FRAME
) -> Figure:
    """Draw one photo's mask scaled down by each factor, and back up, with its PxAP (figure 4).

    The upper half is without antialiasing, the lower half with it.

    Args:
        split: with masks.
        index: of the photo.
        scales: see ``simulate``.
        frame: see ``simulate``.

    Raises:
        ValueError, RuntimeError, OSError: see ``simulate``.
    """
    check_masks(split)
    truth = read_truth(split, index, frame)["mask"]
    figure = Figure(figsize=(1.3 * (len(scales) + 1), 6.4), layout="constrained")
    grid = figure.subplots(4, len(scales) + 1)
    photo = resize(split.read_pixels(index), (frame, frame), anti_aliasing=True)
    _show(grid[0, 0], photo, "photo")
    levels = np.where(truth == IGNORED, 0.5, truth)
    _show(grid[1, 0], levels, "true mask\n(grey: ignored)")
    for axes in grid[2:, 0]:
        axes.axis("off")
    for half, how in enumerate(("", "antialiased,\n")):
        for column, scale in enumerate(scales, 1):
            small, large = scaled_masks(truth, scale, antialias=bool(half))
            metric = PxAP()
            metric.update_state([large], [truth], [split.ids[index]])
            down, up = grid[2 * half : 2 * half + 2, column]
            _show(down, small, "" if half else f"z = {scale}\n{pixels(small.shape)} pixels")
            _show(up, large, f"PxAP\n{metric.result():.2f} %")
            if column == 1:
                down.set_ylabel(f"{how}scaled down", fontsize=9)
                up.set_ylabel("and back up", fontsize=9)
    return figure


def check_masks(split: Split) -> None:
    """Raise a ValueError unless a split has masks."""
    if split.masks is None:
        raise ValueError(
            f"`split` must have masks. Received: split {split.name!r} without any; its boxes "
            "cannot take their place."
        )


def _show(axes: Axes, picture: NDArray, title: str) -> None:
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
