"""A picture of four colours, to see which of them is where."""

import numpy as np
from PIL import Image

from fcam_tf.photos import read_photo

RED, GREEN, BLUE, WHITE = (200, 30, 20), (20, 180, 40), (30, 60, 220), (255, 255, 255)


def quarters(size=(60, 40)):
    """A picture whose four quarters are red, green / blue, white."""
    image = Image.new("RGB", (2, 2))
    for position, colour in zip(
        [(0, 0), (1, 0), (0, 1), (1, 1)], [RED, GREEN, BLUE, WHITE], strict=True
    ):
        image.putpixel(position, colour)
    return image.resize(size, Image.Resampling.NEAREST)


def corners(pixels):
    """The colours in the middle of the four quarters."""
    h, w = pixels.shape[:2]
    return [pixels[y, x] for y in (h // 4, 3 * h // 4) for x in (w // 4, 3 * w // 4)]


def close(have, want, tolerance=6):
    return np.abs(np.asarray(have, int) - np.asarray(want, int)).max() <= tolerance


def read(tmp_path, image, name="photo.png", size=32, **options):
    """Save a picture, and read it as a model of squares of ``size`` pixels would."""
    path = tmp_path / name
    image.save(path, **options)
    return read_photo(path, (size, size))
