"""Pictures of the report: a photo with its map and boxes, and the parts of the object found.

The true box is green, the predicted one red. Of the parts, what is found is green and what is
missed red. The paper's figures 1, 10 and 11 have the two the other way round (Belharbi et al., WACV
2022), and so have ours of that name: `PAPER`.
"""

from __future__ import annotations

import base64
import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fcam_tf.data.split import Split
from fcam_tf.evaluation.scores import Scored
from fcam_tf.localization import scale_box
from fcam_tf.masks import BACKGROUND, OBJECT, join_masks
from fcam_tf.metrics.measures import grey_thresholds
from fcam_tf.visualize import blend, resize_heatmap

SIDE = 320  # pixels on the longer side of a picture
TRUE_BOX, PREDICTED_BOX, HALO = (40, 240, 60), (255, 45, 45), (0, 0, 0)
TRUE_LINE, PREDICTED_LINE = 5, 3  # pixels; where boxes coincide, both are seen
_QUALITY = 82
_TINT = 0.55
_DIMMED = 0.6


class PartColours(NamedTuple):
    """RGB of true positives, false negatives and false positives."""

    found: tuple[int, int, int]
    missed: tuple[int, int, int]
    excess: tuple[int, int, int]


# Green is light and red dark, for those who tell the two by nothing else.
REPORT = PartColours((70, 210, 90), (200, 20, 30), (40, 90, 235))
PAPER = PartColours((228, 26, 28), (40, 190, 60), (40, 90, 235))


class Thresholds(NamedTuple):
    """What pictures are thresholded at, relative to a map's maximum; None without ground truth."""

    box: float | None
    mask: float | None


def draw_photo(split: Split, index: int) -> Image.Image:
    """Draws a photo with the true boxes, where there are any."""
    photo, size = _open(split, index)
    _true_boxes(ImageDraw.Draw(photo), split, index, size, photo.size)
    return photo


def draw_map(split: Split, scored: Scored, threshold: float | None) -> Image.Image:
    """Draws a photo with its heat map, the true boxes, and the predicted one at a threshold."""
    photo, size = _open(split, scored.index)
    levels = scored.levels
    picture = blend(photo, levels / 255)
    draw = ImageDraw.Draw(picture)
    _true_boxes(draw, split, scored.index, size, photo.size)
    if threshold is not None and scored.boxes is not None:
        box = scored.boxes[grey_thresholds(levels.max(), threshold)].tolist()
        edges = scale_box(box, levels.shape[::-1], photo.size)
        _rectangle(draw, edges, PREDICTED_BOX, PREDICTED_LINE)
    return picture


def draw_parts(
    split: Split, scored: Scored, thresholds: Thresholds, colours: PartColours = REPORT
) -> Image.Image:
    """Draws true and false positives and false negatives over the dimmed photo.

    Without a mask all that is above the box's threshold has the colour of what is found.
    """
    photo, _ = _open(split, scored.index)
    heat = resize_heatmap(scored.levels / 255, *photo.size)
    picture = np.asarray(photo.convert("L").convert("RGB")) * _DIMMED
    if thresholds.mask is None:
        cut = grey_thresholds(scored.levels.max(), thresholds.box or 0.0)
        return Image.fromarray(np.uint8(_tint(picture, heat > cut / 255, colours.found)))
    found = heat >= thresholds.mask
    truth = join_masks(*split.read_masks(scored.index), size=photo.size[::-1])
    for where, colour in (
        (found & (truth == OBJECT), colours.found),
        (~found & (truth == OBJECT), colours.missed),
        (found & (truth == BACKGROUND), colours.excess),
    ):
        picture = _tint(picture, where, colour)
    return Image.fromarray(np.uint8(picture))


def data_uri(picture: Image.Image) -> str:
    """The picture as a JPEG in an address that needs no file."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _open(split: Split, index: int) -> tuple[Image.Image, tuple[int, int]]:
    """The photo at the size of pictures, as stored (boxes are in that frame), and its own size."""
    photo = Image.fromarray(split.read_pixels(index))
    size = split.size(index)
    scale = SIDE / max(size)
    width, height = (max(1, round(side * scale)) for side in size)
    return photo.resize((width, height), Image.Resampling.BICUBIC), size


def _true_boxes(
    draw: ImageDraw.ImageDraw,
    split: Split,
    index: int,
    size: tuple[int, int],
    shown: tuple[int, int],
) -> None:
    for box in () if split.boxes is None else split.boxes[index]:
        _rectangle(draw, scale_box(box, size, shown), TRUE_BOX, TRUE_LINE)


def _rectangle(
    draw: ImageDraw.ImageDraw,
    edges: tuple[int, int, int, int],
    colour: tuple[int, int, int],
    line: int,
) -> None:
    """Draws a bright line inside the edges and a thin dark one within; around what is tiny."""
    x0, y0, x1, y1 = edges
    if min(x1 - x0, y1 - y0) > 3 * line:
        draw.rectangle(edges, outline=colour, width=line)
        draw.rectangle((x0 + line, y0 + line, x1 - line, y1 - line), outline=HALO, width=1)
    else:
        draw.rectangle((x0 - line, y0 - line, x1 + line, y1 + line), outline=colour, width=line)


def _tint(picture: NDArray, where: NDArray, colour: tuple[int, int, int]) -> NDArray:
    tinted = picture / _DIMMED * (1 - _TINT) + np.array(colour) * _TINT
    return np.where(where[..., None], tinted, picture)
