import struct
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fcam_tf import photos
from fcam_tf.photos import PhotoError, read_mask, read_photo, read_pixels
from tests.quarters import BLUE, GREEN, RED, WHITE, close, corners, quarters, read


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_cost_the_photo(tmp_path):
    photo = read(tmp_path, quarters(), "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\xff" + b"\xee" * 30)
    assert (photo.width, photo.height) == (60, 40)


def bomb(path, side):
    """A PNG of a few hundred bytes that claims ``side`` x ``side`` pixels."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    end = chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + end)


def test_decompression_bomb_is_refused_before_decoding(tmp_path):
    bomb(tmp_path / "bomb.png", 50_000)
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(PhotoError, match=r"50000 x 50000 pixels are above the 179 million"):
        read_photo(tmp_path / "bomb.png", (32, 32))
    with pytest.raises(PhotoError, match=r"50000 x 50000 pixels are above the 179 million"):
        read_mask(tmp_path / "bomb.png")
    assert limit == Image.MAX_IMAGE_PIXELS


def test_progressive_jpeg_is_judged_by_its_full_size(tmp_path, monkeypatch):
    monkeypatch.setattr(photos, "MAX_PIXELS", 4_000_000)
    image = Image.new("RGB", (2600, 2600), RED)
    assert read(tmp_path, image, "baseline.jpg").width == 2600
    with pytest.raises(PhotoError, match="2600 x 2600"):
        read(tmp_path, image, "progressive.jpg", progressive=True)


def test_missing(tmp_path):
    with pytest.raises(PhotoError, match="there is no such file"):
        read_photo(tmp_path / "none.jpg", (32, 32))


def test_empty(tmp_path):
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(PhotoError, match="the file is empty"):
        read_photo(tmp_path / "empty.jpg", (32, 32))


def test_folder(tmp_path):
    with pytest.raises(PhotoError, match="not a regular file"):
        read_photo(tmp_path, (32, 32))


@pytest.mark.parametrize(
    "content", [b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]
)
def test_no_photo(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(PhotoError, match="not a photo in a format that can be read"):
        read_photo(tmp_path / "a.jpg", (32, 32))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif", "a.webp", "a.tif", "a.bmp"])
def test_truncated(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    path = tmp_path / name
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PhotoError) as caught:
        read_photo(path, (32, 32))
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")  # Pillow's remarks on damaged metadata
@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"]),
    spots=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=20),
)
def test_damage_is_a_photo_error_or_nothing(tmp_path_factory, name, spots):
    path = tmp_path_factory.getbasetemp() / f"damaged.{name.lower()}"
    quarters().save(path, name)
    data = bytearray(path.read_bytes())
    for place, value in spots:
        data[place % len(data)] = value
    path.write_bytes(data)
    try:
        photo = read_photo(path, (16, 16))
    except PhotoError:
        return
    assert photo.pixels.shape == (16, 16, 3)


def test_heic_needs_an_extra(tmp_path, monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    quarters().save(tmp_path / "a.heic", "HEIF")
    for registry in (Image.OPEN, Image.SAVE):
        monkeypatch.delitem(registry, "HEIF")
    photo = read_photo(tmp_path / "a.heic", (32, 32))
    assert close(corners(photo.view), [RED, GREEN, BLUE, WHITE], 20)
    monkeypatch.delitem(Image.OPEN, "HEIF")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(PhotoError, match=r"pip install 'fcam_tf\[heic\]'"):
        read_photo(tmp_path / "a.heic", (32, 32))


def test_a_fault_of_our_own_is_not_taken_for_a_broken_photo(tmp_path, monkeypatch):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    monkeypatch.setattr("fcam_tf.photos._rgb", lambda image: image.nothing)
    with pytest.raises(AttributeError, match="nothing"):
        read_pixels(tmp_path / "a.png")
