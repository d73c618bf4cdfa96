"""Pictures to look at: a heat map over its photo, with box and caption."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from fcam_tf.fonts import Line
from fcam_tf.localization import scale_box
from fcam_tf.names import percent

# The longer side of a picture, in pixels: a smaller photo is enlarged so that text can be read.
MIN_SIDE, MAX_SIDE = 640, 1280

_MIN_CANVAS = (320, 160)  # a narrow strip of a photo gets a margin that the caption has room in
_MARGIN = (38, 38, 38)
_OPACITY = (0.5, 0.4)  # of the coldest and the hottest pixel: the photo is seen under both
_COLOUR = 0.6  # what is left of the photo's saturation
_LINE, _HALO, _PLATE = (255, 255, 255), (0, 0, 0), (20, 20, 20)
_Edges = tuple[int, int, int, int]  # x0, y0, x1, y1 in the picture, all inclusive
INFERNO = (255 * mpl.colormaps["inferno"](np.arange(256))[:, :3]).astype(np.uint8)


def overlay(
    photo: np.ndarray,
    heatmap: np.ndarray,
    boxes: Sequence[Sequence[int]] = (),
    label: str = "",
    score: float | None = None,
) -> np.ndarray:
    """Draw a heat map over its photo, with boxes, and label and score on a plate.

    Colours are those of matplotlib's perceptually uniform "inferno". The photo's own colours are
    muted, for what is orange in it would pass for heat.

    Args:
        photo: (H, W, 3) uint8 RGB.
        heatmap: (h, w) in [0, 1] at any resolution, covering the whole photo.
        boxes: each x0, y0, x1, y1 in the pixels of the heat map, all inclusive. The label is that
            of the first; several are numbered.
        label: one line of text; drawn smaller, and then cut with an ellipsis, where it is wider
            than the picture. Characters that our font lacks are in another of the system's, or,
            where none has them, their numbers, such as U+732B.
        score: a probability in [0, 1], drawn behind the label in percent; None draws none.

    Returns:
        (H', W', 3) uint8 RGB, its longer side in [`MIN_SIDE`, `MAX_SIDE`]; very narrow photos get a
        margin.

    Examples:
        >>> picture = fcam_tf.visualize.overlay(images[0], np.eye(8), [[2, 2, 5, 5]], "cat", 0.9)
        >>> picture.shape
        (640, 640, 3)
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

    edges: list[_Edges] = []
    for box in boxes:
        x0, y0, x1, y1 = scale_box(box, heatmap.shape[::-1], image.size)
        edges.append((left + x0, top + y0, left + x1, top + y1))
    for each in reversed(edges):
        _rectangle(ImageDraw.Draw(canvas), canvas.size, each, max(3, max(image.size) // 240))
    plates, ending = _Plates(canvas), "" if score is None else f" {percent(score)}"
    if label or ending:
        number = "1 " if len(edges) > 1 else ""
        plates.write(edges[0] if edges else (left, top, left, top), label, ending, number)
    for n, each in enumerate(edges[1:], start=2):
        plates.write(each, str(n))
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
    blended = np.asarray(muted) * (1 - opacity) + INFERNO[np.uint8(255 * heat)] * opacity
    return Image.fromarray(np.uint8(blended))


def _rectangle(
    draw: ImageDraw.ImageDraw, canvas: tuple[int, int], edges: _Edges, line: int
) -> None:
    """Draw a light line between two dark ones: inside the edges, around them if it would hide."""
    x0, y0, x1, y1 = edges
    if min(x1 - x0, y1 - y0) < 6 * line:
        around = line + 3
        x0, y0 = max(0, x0 - around), max(0, y0 - around)
        x1, y1 = min(canvas[0] - 1, x1 + around), min(canvas[1] - 1, y1 + around)
    draw.rectangle((x0, y0, x1, y1), outline=_HALO, width=line + 2)
    draw.rectangle((x0 + 1, y0 + 1, x1 - 1, y1 - 1), outline=_LINE, width=line)


class _Plates:
    """Writes on plates at the corners of boxes, of which none hides another if there is room."""

    def __init__(self, canvas: Image.Image) -> None:
        self._draw, self._canvas = ImageDraw.Draw(canvas), canvas.size
        self._taken: list[_Edges] = []

    def write(self, edges: _Edges, label: str, ending: str = "", number: str = "") -> None:
        """Write on a plate that stands on the box or hangs from it, and never leaves the canvas."""
        size = max(18, max(self._canvas) // 34)
        padding = size // 3
        room = self._canvas[0] - 2 * padding
        line = _line(size, number, label, ending)
        if line.length > room:
            size = max(14, int(size * room / line.length))
            line = _line(size, number, label, ending)
        if line.length > room:
            line = _cut(size, number, label, ending, room)
        width = round(line.length) + 2 * padding
        x, y, *_ = plate = self._place(edges, width, line.ascent + line.descent + padding)
        self._draw.rectangle(plate, fill=_PLATE)
        line.draw(self._draw, x + padding, y + padding // 2 + line.ascent, _LINE)
        self._taken.append(plate)

    def _place(self, edges: _Edges, width: int, height: int) -> _Edges:
        """Choose the first corner of a box that is free, or else the first."""
        x0, y0, x1, y1 = edges
        above = y0 - height if y0 >= height else y0  # the canvas is twice as high
        right, below = x1 + 1 - width, y1 + 1 - height
        places: list[_Edges] = []
        for corner in ((x0, above), (right, above), (x0, below), (right, below)):
            x, y = (
                min(max(0, low), side - length)
                for low, side, length in zip(corner, self._canvas, (width, height), strict=True)
            )
            places.append((x, y, x + width - 1, y + height - 1))
        return next((p for p in places if not any(_overlap(p, t) for t in self._taken)), places[0])


def _overlap(a: _Edges, b: _Edges) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def _line(size: int, number: str, label: str, ending: str) -> Line:
    """Lay out a label apart from numbers: one from right to left would draw them in."""
    label = label.strip()
    return Line(size, number, label, ending if label else ending.lstrip())


def _cut(size: int, number: str, label: str, ending: str, room: float) -> Line:
    """Lay out as much of a label as there is room for, with an ellipsis; none without."""

    def beginning(length: int) -> Line:
        return _line(size, number, label[:length].rstrip() + "…", ending)

    length = bisect.bisect_right(range(len(label)), room, key=lambda n: beginning(n).length) - 1
    return beginning(length) if length > 0 else _line(size, number, "", ending)
