"""What a photo is, and reading one from disk, whatever its format, size or damage.

All parts of the package read photos by this module, so that one file has the same pixels in
training, evaluation, `fcam localize` and `fcam data check`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from fcam_tf.names import listed

NOT_PHOTOS = "not photos by their names"
LINKED = "linked folders, which are not followed"  # they may lead round
VIEW_SIDE = 1280  # pixels on the longer side of what is kept to draw on

# Of what must be decoded at once: where Pillow itself refuses, about 0.7 GB.
MAX_PIXELS = 178_956_970

# What cameras, phones and the web make. Others that Pillow opens start programs of their own (EPS)
# or are not photos. HEIF needs pillow-heif.
FORMATS = (
    *("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF"),
    "WEBP",
)
# What is taken for a photo in a folder; a file that is named itself may have any name.
SUFFIXES = frozenset(
    {
        *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
        *(".pgm", ".png", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
    }
)
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_REDUCIBLE = {"L", "LA", "RGB", "RGBA", "CMYK", "YCbCr"}
_LARGEST_SAMPLE = {"L;2": 3, "L;4": 15, "L": 255, "RGB": 255}  # by how a PNG file stores samples
_TURNS = {  # what makes each EXIF orientation upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_open_lock = threading.Lock()


class PhotoError(Exception):
    """A photo cannot be read; the message says why in one line, without the file's name."""


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photo in the two sizes that localisation needs, both upright and RGB."""

    # (H, W, 3) uint8, the whole photo resized straight to the model's input with antialiased
    # bilinear interpolation, its aspect ratio not kept: the protocol of the WSOL benchmark.
    pixels: np.ndarray
    # (h, w, 3) uint8, the photo to draw on, its aspect ratio kept, the longer side at most
    # `VIEW_SIDE` pixels; None where nothing is drawn.
    view: np.ndarray | None
    width: int  # width of the photo as displayed, in its own pixels
    height: int  # height of the photo as displayed, in its own pixels

    @property
    def view_size(self) -> tuple[int, int]:
        """Width and height of `view`, also where there is none."""
        if self.view is not None:
            return self.view.shape[1], self.view.shape[0]
        scale = min(1, VIEW_SIDE / max(self.width, self.height))
        return max(1, round(self.width * scale)), max(1, round(self.height * scale))


def passed_over(files: Sequence[object], why: str) -> str:
    """Return the line that says which files are not taken for photos."""
    return f"{len(files)} passed over, {why}: {listed(files)}"


def read_photo(path: Path, size: tuple[int, int], *, view: bool = True) -> Photo:
    """Read a photo as a viewer would show it.

    An EXIF orientation is applied: width, height and every box are in the frame as displayed.
    Transparency is composited onto white. Of 16-bit samples the upper 8 bits are taken; 32-bit and
    floating-point grey is scaled from its own minimum to its maximum. Of an animation or a
    multi-page file the first frame is taken. Colour profiles are not applied. A JPEG of twice
    `VIEW_SIDE` or more is decoded at a half, a quarter or an eighth of its size, so memory stays
    bounded.

    Args:
        path: the file.
        size: (height, width) that the model takes, in pixels.
        view: whether there is something to draw on; making it takes as long as decoding.

    Raises:
        PhotoError: the file is missing, empty, damaged, not a photo, or above `MAX_PIXELS`.
    """
    with _opened(path) as image:
        rgb, width, height = _decoded(image, upright=True)
        pixels = rgb.resize(size[::-1], Image.Resampling.BILINEAR)
        photo = Photo(np.asarray(pixels), None, width, height)
        if not view:
            return photo
        shown = rgb.resize(photo.view_size, Image.Resampling.BILINEAR)
        return dataclasses.replace(photo, view=np.asarray(shown))


def read_pixels(path: Path, *, upright: bool = True, most: int | None = None) -> np.ndarray:
    """Read the pixels of a photo alone, see `read_photo`.

    Args:
        path: the file.
        upright: apply an EXIF orientation. False gives the pixels as they are stored, which the
            boxes and masks of the WSOL benchmark refer to.
        most: number of pixels up to which a large photo is not made smaller.

    Returns:
        (height, width, 3) uint8 RGB; of a large photo made smaller, see `read_photo`, but with
        ``most`` no smaller than that, its aspect ratio kept.

    Raises:
        PhotoError: see `read_photo`.
    """
    with _opened(path) as image:
        rgb = _decoded(image, upright=upright, reduce=most is None)[0]
        if most and rgb.width * rgb.height > most:
            scale = math.sqrt(most / (rgb.width * rgb.height))
            size = max(1, int(rgb.width * scale)), max(1, int(rgb.height * scale))
            rgb = rgb.resize(size, Image.Resampling.BILINEAR)
        return np.asarray(rgb)


def read_size(path: Path) -> tuple[int, int]:
    """Return width and height of a photo as stored, from its header alone; errors as below."""
    with _opened(path) as image:
        return image.size


def read_header(path: Path) -> tuple[int, int, bool]:
    """Return width and height of a photo as stored, and whether EXIF turns it.

    A PNG file may have its EXIF behind its pixels, for which Pillow decodes it; others it does not.

    Raises:
        PhotoError: the file cannot be read, or is not a photo; damage further on is not seen.
    """
    with _opened(path) as image:
        return *image.size, _orientation(image) in _TURNS


def read_mask(path: Path) -> np.ndarray:
    """Read the grey levels of a mask as stored, (height, width) uint8; errors as `read_photo`'s."""
    with _opened(path) as image:
        _refuse_huge(image.size)
        with _decoding():
            image.load()
        return np.asarray(image.convert("L"))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    try:
        with _decoding():
            image = _open(path)
        with image:
            yield image
    except MemoryError:
        raise PhotoError("there is not enough memory to decode it") from None


@contextlib.contextmanager
def _decoding() -> Iterator[None]:
    """Turn what reading a file raises into a PhotoError; around no more, to hide no other fault."""
    try:
        yield
    except (PhotoError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise PhotoError(
            "this is not a photo in a format that can be read (JPEG, PNG, WebP, TIFF, ...)"
        ) from None
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise PhotoError(f"it cannot be read: {reason or type(error).__name__}") from error


def _open(path: Path) -> ImageFile.ImageFile:
    if not path.exists():
        raise PhotoError("there is no such file")
    if not path.is_file():
        raise PhotoError("this is not a regular file")
    if path.stat().st_size == 0:
        raise PhotoError("the file is empty")
    Image.init()
    if "HEIF" not in Image.OPEN:
        _register_heif(path)
    formats = [name for name in FORMATS if name in Image.OPEN]
    # Pillow's limit looks at the stored size, `_read` at what has to be decoded.
    with _open_lock:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _register_heif(path: Path) -> None:
    """Make Pillow know HEIF, if the file is one."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] != b"ftyp" or head[8:12] not in _HEIF_BRANDS:
        return
    try:
        import pillow_heif  # noqa: PLC0415 - an extra
    except ImportError:
        raise PhotoError("HEIC photos need pillow-heif: pip install 'fcam_tf[heic]'") from None
    pillow_heif.register_heif_opener()


def _decoded(
    image: ImageFile.ImageFile, *, upright: bool, reduce: bool = True
) -> tuple[Image.Image, int, int]:
    """Return a photo in RGB, a large one made smaller, and its own width and height."""
    stored = image.size
    if reduce:
        image.draft(None, (VIEW_SIDE, VIEW_SIDE))
    drafted = image.size != stored
    # A progressive JPEG holds the coefficients of the full size, whatever size comes out.
    _refuse_huge(stored if "progressive" in image.info else image.size, stored)
    loaded = _loaded(image)
    width, height = stored if drafted else image.size
    rgb = _rgb(_reduced(loaded) if reduce else loaded)
    orientation = _orientation(image) if upright else 1
    if orientation in _TURNS:
        rgb = rgb.transpose(_TURNS[orientation])
    if orientation in range(5, 9):  # a quarter turn, mirrored or not
        width, height = height, width
    return rgb, width, height


def _refuse_huge(decoded: tuple[int, int], stored: tuple[int, int] | None = None) -> None:
    width, height = stored or decoded
    if decoded[0] * decoded[1] > MAX_PIXELS:
        raise PhotoError(
            f"its {width} x {height} pixels are above the {MAX_PIXELS / 1e6:.0f} million that are "
            "decoded at once; make it smaller first"
        )


def _loaded(image: ImageFile.ImageFile) -> Image.Image:
    """Decode a photo; a colour that its file names transparent becomes an alpha channel."""
    samples = image.tile[0][3] if image.format == "PNG" and image.tile else None
    with _decoding():
        image.load()
    colour = image.info.get("transparency")
    if colour is None or image.mode not in {"1", "L", "RGB", "I;16"}:
        return image
    # A PNG file names it in its own samples; Pillow compares it with those of 8 bits.
    if samples in {"I;16B", "RGB;16B"}:
        return _deep_with_alpha(image, colour)
    if samples in _LARGEST_SAMPLE:
        largest = _LARGEST_SAMPLE[samples]
        scaled = (np.array(colour) & largest) * (255 // largest)
        image.info["transparency"] = tuple(scaled.tolist()) if scaled.ndim else int(scaled)
    return image.convert("RGBA")


def _deep_with_alpha(image: ImageFile.ImageFile, colour: int | tuple[int, ...]) -> Image.Image:
    """Return a PNG photo of 16 bits in 8, one colour of it transparent."""
    values = np.asarray(image)
    if image.mode == "RGB":  # Pillow gives one half of the bits at a time
        with _open(Path(os.fsdecode(image.filename))) as lower:
            tile = (*lower.tile[0][:3], "RGB;16L")
            lower.tile = [tile]  # type: ignore[list-item]  # a plain tuple before Pillow 11
            with _decoding():
                lower.load()
            values = values.astype(np.uint16) << 8 | np.asarray(lower)
    same = np.all(np.atleast_3d(values) == colour, axis=-1)
    reduced = Image.fromarray((values >> 8).astype(np.uint8))
    reduced.putalpha(Image.fromarray(np.where(same, np.uint8(0), np.uint8(255))))
    return reduced


def _reduced(image: Image.Image) -> Image.Image:
    """Average whole blocks of a huge image, leaving at least twice what is resized from it."""
    x, y = (max(1, side // (2 * VIEW_SIDE)) for side in image.size)
    return image.reduce((x, y)) if (x, y) != (1, 1) and image.mode in _REDUCIBLE else image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in {"I", "F"}:
        image = Image.fromarray(_stretched(np.asarray(image)))
    if image.mode == "RGB":  # spares a copy; a transparent colour is an alpha channel by now
        return image
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    white.alpha_composite(rgba)
    return white.convert("RGB")


def _stretched(values: np.ndarray) -> np.ndarray:
    values = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)
    low, high = values.min(), values.max()
    scaled = (values - low) / max(high - low, np.finfo(np.float32).tiny)
    return (255 * scaled).astype(np.uint8)


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF must not cost the photo
        return 1
