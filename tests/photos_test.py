import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import ExifTags, Image

from fcam_tf import photos
from fcam_tf.photos import PhotoError, read_header, read_photo, read_pixels
from tests.pngs import png
from tests.quarters import BLUE, GREEN, RED, WHITE, close, corners, quarters, read


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.tif", "a.ppm", "a.tga"])
def test_formats(tmp_path, name):
    photo = read(tmp_path, quarters(), name, **({"quality": 95} if name[2] in "jw" else {}))
    assert (photo.width, photo.height) == (60, 40)
    assert photo.view.shape == (40, 60, 3)
    assert photo.pixels.shape == (32, 32, 3)
    assert photo.pixels.dtype == photo.view.dtype == np.uint8
    assert close(corners(photo.view), [RED, GREEN, BLUE, WHITE], 12)
    assert close(corners(photo.pixels), [RED, GREEN, BLUE, WHITE], 12)


def test_pixels_are_pillows_antialiased_bilinear_of_the_whole_photo(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8)
    photo = read(tmp_path, Image.fromarray(noise), size=224)
    expected = Image.fromarray(noise).resize((224, 224), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(photo.pixels, expected)
    np.testing.assert_array_equal(photo.view, noise)


def test_a_name_without_the_right_suffix_and_with_odd_letters(tmp_path):
    photo = read(tmp_path, quarters(), "größe 猫 \n\t.dat", format="PNG")
    assert close(corners(photo.view), [RED, GREEN, BLUE, WHITE])


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr"])
def test_modes(tmp_path, mode):
    name = {"YCbCr": "a.jpg", "CMYK": "a.tif"}.get(mode, "a.png")
    image = quarters().convert(mode)
    photo = read(tmp_path, image, name)
    assert close(corners(photo.view), corners(np.asarray(image.convert("RGB"))), 12)


def test_cmyk_jpeg(tmp_path):
    photo = read(tmp_path, quarters().convert("CMYK"), "a.jpg", quality=95)
    assert close(corners(photo.view), [RED, GREEN, BLUE, WHITE], 12)


def test_16_bit_grey_by_its_full_range(tmp_path):
    values = np.array([[0, 0x4000], [0x8000, 0xFFFF]], np.uint16).repeat(20, 0).repeat(20, 1)
    photo = read(tmp_path, Image.fromarray(values))
    assert [int(c[0]) for c in corners(photo.view)] == [0, 0x40, 0x80, 0xFF]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([[-1.0, 0.0], [1.0, np.nan]], [0, 127, 255, 127]), ([[7.0, 7.0], [7.0, 7.0]], [0, 0, 0, 0])],
)
def test_floating_point_from_minimum_to_maximum(tmp_path, values, expected):
    image = Image.fromarray(np.array(values, np.float32).repeat(9, 0).repeat(9, 1))
    photo = read(tmp_path, image, "a.tif")
    assert [int(c[0]) for c in corners(photo.view)] == expected


def test_transparency_lies_on_white(tmp_path):
    image = quarters().convert("RGBA")
    alpha = np.full((40, 60), 255, np.uint8)
    alpha[:20, :30] = 0  # red vanishes
    alpha[:20, 30:] = 128  # green half
    image.putalpha(Image.fromarray(alpha))
    half = [(c * 128 + 255 * 127) // 255 for c in GREEN]
    photo = read(tmp_path, image)
    assert close(corners(photo.view), [WHITE, half, BLUE, WHITE], 2)


def test_transparent_palette_colour_lies_on_white(tmp_path):
    image = quarters().quantize(4)
    red = image.getpixel((0, 0))
    for transparency in (red, bytes(0 if i == red else 255 for i in range(4))):
        photo = read(tmp_path, image, transparency=transparency)
        assert close(corners(photo.view), [WHITE, GREEN, BLUE, WHITE])


def read_png(tmp_path, *arguments):
    (tmp_path / "a.png").write_bytes(png(*arguments))
    return read_photo(tmp_path / "a.png", (16, 16))


@pytest.mark.parametrize(
    ("channels", "depth"), [(1, 1), (1, 2), (1, 4), (1, 8), (1, 16), (3, 8), (3, 16)]
)
def test_the_colour_that_a_png_file_names_is_transparent_and_no_other(tmp_path, channels, depth):
    samples = np.random.default_rng(depth).integers(0, 2**depth, (8, 9, channels))
    for y, x in [(0, 0), (1, 3), (7, 8)]:
        colour = samples[y, x].copy()
        samples[4, 4] = samples[5, 5] = colour
        samples[5, 5, -1] ^= 1  # differs in the last bit
        same = (samples == colour).all(-1)
        assert 2 <= same.sum() <= (8 * 9 if depth < 8 else 3)
        expected = samples >> 8 if depth == 16 else samples * 255 // (2**depth - 1)
        expected = np.broadcast_to(np.where(same[..., None], 255, expected), (8, 9, 3))
        np.testing.assert_array_equal(read_png(tmp_path, samples, depth, colour).view, expected)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_of_16_bits_the_upper_8_are_taken(tmp_path, channels):
    samples = np.random.default_rng(0).integers(0, 2**16, (8, 9, channels))
    colour = samples >> 8
    if channels in (2, 4):
        alpha = colour[..., -1:] / 255
        colour = colour[..., :-1] * alpha + 255 * (1 - alpha)
    photo = read_png(tmp_path, samples, 16)
    np.testing.assert_allclose(photo.view, np.broadcast_to(colour, (8, 9, 3)), atol=1)


def test_what_a_png_file_names_beyond_its_depth_is_cut(tmp_path):
    samples = np.arange(16).reshape(4, 4, 1)
    white = read_png(tmp_path, samples, 4, 0xAB7).view[..., 0] == 255
    assert np.flatnonzero(white).tolist() == [7, 15]


def test_a_transparent_colour_of_a_huge_png_is_not_averaged(tmp_path):
    grey = np.where(np.indices((5200, 40)).sum(0) % 2, 200, 0)[..., None]  # a chessboard
    photo = read_png(tmp_path, grey, 8, 0)  # averaged, black and grey would be opaque
    assert close(photo.pixels, 228, 2)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation, name):
    upright = quarters((60, 40))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transpose that the viewer will undo
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if name in {"a.jpg", "a.webp"} else {}
    photo = read(tmp_path, stored, name, exif=exif, **options)
    assert (photo.width, photo.height) == (60, 40)
    assert photo.view.shape == (40, 60, 3)
    assert close(corners(photo.view), [RED, GREEN, BLUE, WHITE], 12)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_first_frame_of_many(tmp_path, name):
    frames = [Image.new("RGB", (20, 10), colour) for colour in (BLUE, RED)]
    options = {"lossless": True} if name == "a.webp" else {}
    photo = read(tmp_path, frames[0], name, save_all=True, append_images=frames[1:], **options)
    assert close(photo.view, BLUE)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5000, 2), (3, 4000), (2561, 1281)])
def test_extreme_sizes(tmp_path, size):
    photo = read(tmp_path, Image.new("RGB", size, RED))
    assert (photo.width, photo.height) == size
    assert max(photo.view.shape) == min(max(*size, 3), photos.VIEW_SIDE)
    assert close(photo.pixels, RED)
    bare = photos.read_photo(tmp_path / "photo.png", (32, 32), view=False)
    assert bare.view is None
    assert bare.view_size == photo.view.shape[1::-1]
    np.testing.assert_array_equal(bare.pixels, photo.pixels)


def test_as_many_pixels_as_wanted(tmp_path):
    Image.new("RGB", (5200, 2600), RED).save(tmp_path / "a.jpg")
    assert read_pixels(tmp_path / "a.jpg").shape == (1300, 2600, 3)
    assert read_pixels(tmp_path / "a.jpg", most=5200 * 2600).shape == (2600, 5200, 3)
    pixels = read_pixels(tmp_path / "a.jpg", most=20_000)
    assert pixels.shape == (100, 200, 3)
    assert close(pixels, RED)


def test_large_jpeg_is_decoded_small_and_keeps_its_size(tmp_path):
    image = quarters((6000, 4000))
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = read(tmp_path, image.transpose(Image.Transpose.ROTATE_90), "a.jpg", exif=exif)
    assert (photo.width, photo.height) == (6000, 4000)
    assert photo.view.shape == (853, 1280, 3)
    assert close(corners(photo.view), [RED, GREEN, BLUE, WHITE])
    assert close(corners(photo.pixels), [RED, GREEN, BLUE, WHITE])


def test_large_png_is_averaged_and_keeps_its_size(tmp_path):
    photo = read(tmp_path, quarters((6001, 4001)), compress_level=1)
    assert (photo.width, photo.height) == (6001, 4001)
    assert photo.view.shape == (853, 1280, 3)
    assert close(corners(photo.pixels), [RED, GREEN, BLUE, WHITE])


def test_memory_of_a_100_megapixel_jpeg_is_bounded(tmp_path):
    path = tmp_path / "huge.jpg"
    Image.new("L", (10_000, 10_000), 90).save(path)
    script = textwrap.dedent(
        f"""
        import pathlib, resource
        from fcam_tf.photos import read_photo
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        photo = read_photo(pathlib.Path({str(path)!r}), (224, 224))
        assert (photo.width, photo.height) == (10_000, 10_000)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        """
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    grown = int(subprocess.check_output(command, env=environment))
    assert grown < 60_000  # kB; decoded in full it would be 100 MB, and 400 MB as RGB


def test_header_alone(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    quarters().save(tmp_path / "a.jpg", exif=exif)
    assert read_header(tmp_path / "a.jpg") == (60, 40, True)
    assert read_pixels(tmp_path / "a.jpg").shape == (60, 40, 3)
    assert read_pixels(tmp_path / "a.jpg", upright=False).shape == (40, 60, 3)
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[:-20])
    assert read_header(tmp_path / "a.jpg") == (60, 40, True)
    (tmp_path / "a.jpg").write_bytes(b"<html>")
    with pytest.raises(PhotoError, match="not a photo"):
        read_header(tmp_path / "a.jpg")
