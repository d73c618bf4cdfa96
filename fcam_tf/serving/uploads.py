"""Photos that are sent: read within bounds, and what is found in them as JSON."""

from __future__ import annotations

import base64
import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcam_tf.localization import scale_box
from fcam_tf.masks import NO_BOX
from fcam_tf.photos import Photo, PhotoError, read_photo, read_size
from fcam_tf.serving.errors import BadRequestError

if TYPE_CHECKING:
    from fcam_tf.serving.served import Served

PIXELS = "serve_uint8"  # the signature that answers a photo's pixels


def read_upload(content: bytes, size: tuple[int, int], most: int) -> Photo:
    """Read a photo as `fcam_tf.photos.read_photo` does; its header is looked at first.

    Args:
        content: of the file.
        size: (height, width) that the model takes.
        most: pixels that are decoded at most.

    Raises:
        BadRequestError: it is no photo, damaged, or has more pixels.
    """
    with _stored(content) as path:
        _check_pixels(path, most)
        try:
            return read_photo(path, size)
        except PhotoError as error:
            raise BadRequestError(f"the photo cannot be used: {error}") from None


def check_files(files: np.ndarray, most: int) -> None:
    """Raise a BadRequestError where one of some files is no photo, or all have more pixels.

    What is wrong behind their headers is found when they are decoded. One request is answered
    whole, and others wait for it: hence a bound for all of its photos together.
    """
    total = 0
    for content in files:
        with _stored(content) as path:
            total += _check_pixels(path, most)
    if total > most:
        raise BadRequestError(
            f"the {len(files)} photos of the request have {total / 1e6:g} million pixels together, "
            f"more than the {most / 1e6:g} million that this server takes; send them in several"
        )


def result_json(
    served: Served, photo: Photo, found: Mapping[str, np.ndarray], *, with_overlay: bool
) -> dict[str, Any]:
    """Return what one photo shows, named as in the results.jsonl of ``fcam localize``.

    Args:
        served: the model.
        photo: the photo.
        found: the answer for its pixels, one row.
        with_overlay: whether "overlay" has a PNG file, heat map and box over the photo, in base64.
    """
    label, score, heatmap = int(found["label"][0]), float(found["score"][0]), found["heatmap"][0]
    box = tuple(int(side) for side in found["boxes"][0])
    name = served.class_names[label] if served.class_names else None
    scaled = scale_box(box, heatmap.shape[::-1], (photo.width, photo.height))
    answer = {
        "label": label,
        "label_name": name,
        "score": score,
        "box": None if box == NO_BOX else list(scaled),
        "width": photo.width,
        "height": photo.height,
    }
    if with_overlay and photo.view is not None:
        from fcam_tf.predict.pictures import encoded  # noqa: PLC0415 - matplotlib
        from fcam_tf.visualize import overlay  # noqa: PLC0415

        shown = [] if box == NO_BOX else [box]
        picture = overlay(photo.view, heatmap, shown, name or f"class {label}", score)
        data = encoded(picture, "png", compress_level=3)
        answer["overlay"] = base64.b64encode(data).decode()
    return answer


@contextlib.contextmanager
def _stored(content: bytes) -> Iterator[Path]:
    """Put a file where photos are read from, by a name of our own."""
    with tempfile.NamedTemporaryFile(prefix="fcam-upload-") as file:
        file.write(content)
        file.flush()
        yield Path(file.name)


def _check_pixels(path: Path, most: int) -> int:
    """Return how many there are."""
    try:
        width, height = read_size(path)  # it must not decode what may be too large
    except PhotoError as error:
        raise BadRequestError(f"the photo cannot be used: {error}") from None
    if width * height > most:
        raise BadRequestError(
            f"the photo cannot be used: its {width} x {height} pixels are more than the "
            f"{most / 1e6:g} million that this server takes; make it smaller first"
        )
    return width * height
