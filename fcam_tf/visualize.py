"""Pictures to look at: a heat map over its photo, with box and caption."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from fcam_tf.localization import scale_box

# The longer side of a picture, in pixels: a smaller photo is enlarged so that text can be read.
MIN_SIDE, MAX_SIDE = 640, 1280

_MIN_CANVAS = (320, 160)  # a narrow strip of a photo gets a margin that the caption has room in
_MARGIN = (38, 38, 38)
_OPACITY = (0.5, 0.4)  # of the coldest and the hottest pixel: the photo is seen under both
_COLOUR = 0.6  # what is left of the photo's saturation
_LINE, _HALO, _PLATE = (255, 255, 255), (0, 0, 0), (20, 20, 20)
_INFERNO = (255 * mpl.colormaps["inferno"](np.arange(256))[:, :3]).astype(np.uint8)


def overlay(
    photo: np.ndarray,
    heatmap: np.ndarray,
    box: Sequence[int] | None = None,
    label: str = "",
    score: float | None = None,
) -> np.ndarray:
    """Draw a heat map over its photo, with a box, and label and score on a plate.

    Colours are those of matplotlib's perceptually uniform "inferno". The photo's own colours are
    muted, for what is orange in it would pass for heat.

    Args:
        photo: (H, W, 3) uint8 RGB.
        heatmap: (h, w) in [0, 1] at any resolution, covering the whole photo.
        box: x0, y0, x1, y1 in the pixels of the heat map, all inclusive; None draws none.
        label: one line of text; drawn smaller, and then cut with an ellipsis, where it is wider
            than the picture.
        score: a probability in [0, 1], drawn behind the label in percent; None draws none.

    Returns:
        (H', W', 3) uint8 RGB, its longer side in [`MIN_SIDE`, `MAX_SIDE`]; very narrow photos get a
        margin.
    """
    height, width = photo.shape[:2]
    scale = min(max(1, MIN_SIDE / max(width, height)), MAX_SIDE / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = blend(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC), heatmap)
    width, height = image.size
    canvas_size = max(width, _MIN_CANVAS[0]), max(height, _MIN_CANVAS[1])
    left, top = (canvas_size[0] - width) // 2, (canvas_size[1] - height) // 2
    canvas = Image.new("RGB", canvas_size, _MARGIN)
    canvas.paste(image, (left, top))

    draw = ImageDraw.Draw(canvas)
    anchor = (left, top)
    if box is not None:
        x0, y0, x1, y1 = scale_box(box, heatmap.shape[::-1], image.size)
        edges = [left + x0, top + y0, left + x1, top + y1]
        _rectangle(draw, canvas.size, edges, max(3, max(image.size) // 240))
        anchor = (edges[0], edges[1])
    ending = "" if score is None else f" {score:.0%}"
    if label or ending:
        _plate(draw, canvas.size, anchor, label, ending)
    return np.asarray(canvas)


def resize_heatmap(heatmap: np.ndarray, width: int, height: int) -> np.ndarray:
    """Bring an (h, w) heat map in [0, 1] to (height, width) float32, bilinear, antialiased."""
    image = Image.fromarray(np.asarray(heatmap, np.float32))
    resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return np.clip(resized, 0, 1)


def blend(photo: Image.Image, heatmap: np.ndarray) -> Image.Image:
    """Blend an (h, w) heat map in [0, 1] with the whole of an RGB photo, as `overlay` does."""
    heat = resize_heatmap(heatmap, *photo.size)
    opacity = np.interp(heat, (0, 1), _OPACITY).astype(np.float32)[..., None]
    muted = ImageEnhance.Color(photo).enhance(_COLOUR)
    blended = np.asarray(muted) * (1 - opacity) + _INFERNO[np.uint8(255 * heat)] * opacity
    return Image.fromarray(np.uint8(blended))


def _rectangle(
    draw: ImageDraw.ImageDraw, canvas: tuple[int, int], edges: list[int], line: int
) -> None:
    """Draw a light line between two dark ones: inside the edges, around them if it would hide."""
    x0, y0, x1, y1 = edges
    if min(x1 - x0, y1 - y0) < 6 * line:
        around = line + 3
        x0, y0 = max(0, x0 - around), max(0, y0 - around)
        x1, y1 = min(canvas[0] - 1, x1 + around), min(canvas[1] - 1, y1 + around)
    draw.rectangle((x0, y0, x1, y1), outline=_HALO, width=line + 2)
    draw.rectangle((x0 + 1, y0 + 1, x1 - 1, y1 - 1), outline=_LINE, width=line)


def _plate(
    draw: ImageDraw.ImageDraw,
    canvas: tuple[int, int],
    anchor: tuple[int, int],
    label: str,
    ending: str,
) -> None:
    """Write on a plate that stands on the anchor, or hangs from it, and never leaves the canvas."""
    size = max(18, max(canvas) // 34)
    padding = size // 3
    room = canvas[0] - 2 * padding
    font = _font(size)
    if font.getlength(label + ending) > room:
        font = _font(max(14, int(size * room / font.getlength(label + ending))))
    while label and font.getlength(label + ending) > room:
        label = label.rstrip("…")[:-1].rstrip() + "…" if label != "…" else ""
    text = (label + ending).strip()
    ascent, descent = font.getmetrics()
    width, height = round(font.getlength(text)) + 2 * padding, ascent + descent + padding
    x = min(max(0, anchor[0]), canvas[0] - width)
    y = anchor[1] - height if anchor[1] >= height else anchor[1]  # the canvas is twice as high
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=_PLATE)
    draw.text((x + padding, y + padding // 2), text, font=font, fill=_LINE)


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(
        Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf"), size
    )
