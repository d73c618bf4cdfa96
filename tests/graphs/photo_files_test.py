import io
import struct
import zlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fcam_tf.export import export
from fcam_tf.graphs.photo_files import decode_file
from fcam_tf.models import FCAM
from fcam_tf.photos import read_photo
from tests.models.tiny import photos, tiny_classifier
from tests.pngs import png

IMAGES = photos(3, 48)


def saved(image, form="PNG", **options):
    file = io.BytesIO()
    image.save(file, form, quality=95, **options)
    return file.getvalue()


def encoded(image, form):
    return saved(Image.fromarray(image), form)


def test_files_of_different_sizes(fcam, signatures):
    big = np.array(Image.fromarray(IMAGES[0]).resize((120, 90)))
    files = [encoded(big, "PNG"), encoded(IMAGES[1], "JPEG")]
    answer = signatures["serve_bytes"](image_bytes=tf.constant(files))
    found = {name: value.numpy() for name, value in answer.items()}
    square = tf.image.resize(big.astype("float32"), (64, 64), antialias=True)
    expected = fcam.localize(np.clip(np.round(square), 0, 255)[None])
    np.testing.assert_allclose(found["heatmap"][0], expected.heatmaps[0], atol=1e-5)
    for n, (width, height) in enumerate([(120, 90), (48, 48)]):
        mask = np.array(Image.open(io.BytesIO(found["mask_bytes"][n])))
        assert mask.shape == (height, width)
        x0, y0, x1, y1 = found["boxes"][n]
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert (mask[mask > 0] == 255).all()
        assert abs(columns[0] - x0) <= 2
        assert abs(columns[-1] - x1) <= 2
        assert abs(rows[0] - y0) <= 2
        assert abs(rows[-1] - y1) <= 2


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Return a model of images of 48x32 pixels, and what the SavedModel of it answers."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 48, 3))
    model = FCAM.from_classifier(
        keras.Model(inputs, tiny_classifier()(inputs)), decoder_filters=(4, 4, 4)
    )
    path = export(model, tmp_path_factory.mktemp("wide") / "1")
    return model, tf.saved_model.load(str(path)).signatures


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_model_of_other_sides(wide, orientation):
    model, signatures = wide
    image = Image.fromarray(IMAGES[0])
    file = saved(
        image,
        "PNG",
        exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03"
        b"\x00\x00\x00\x01\x00" + bytes([orientation]) + b"\x00\x00\x00\x00\x00\x00",
    )
    found = signatures["serve_bytes"](image_bytes=tf.constant([file]))
    upright = np.rot90(IMAGES[0], -1) if orientation == 6 else IMAGES[0]
    resized = tf.image.resize(upright.astype("float32"), (32, 48), antialias=True)
    expected = model.localize(np.clip(np.round(resized), 0, 255)[None])
    np.testing.assert_allclose(found["heatmap"], expected.heatmaps, atol=1e-4)
    np.testing.assert_allclose(found["score"], expected.scores, atol=1e-4)


@pytest.mark.parametrize("files", [[b"garbage"], [b""], [encoded(IMAGES[0], "PNG")[:100]]])
def test_bad_files_fail_their_request_alone(signatures, files):
    with pytest.raises(tf.errors.InvalidArgumentError):
        signatures["serve_bytes"](image_bytes=tf.constant(files))
    good = signatures["serve_bytes"](image_bytes=tf.constant([encoded(IMAGES[0], "PNG")]))
    assert good["label"].shape == (1,)


def picture(mode="RGB", size=(90, 40)):
    image = Image.fromarray(photos(1, 6)[0]).resize(size).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.linear_gradient("L").resize(size))
    return image


def plain_png(channels, depth, transparent=False):
    """Return a PNG file of random samples, in blocks, which may name one of them transparent."""
    small = np.random.default_rng(0).integers(0, 2**depth, (8, 8, channels))
    samples = small.repeat(8, 0).repeat(8, 1)
    return png(samples, depth, small[2, 3] if transparent else None)


KINDS = {
    **{mode: saved(picture(mode)) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")},
    **{
        f"{channels} channels of {depth} bits{', one transparent' * transparent}": plain_png(
            channels, depth, transparent
        )
        for channels in (1, 2, 3, 4)
        for depth in ((1, 2, 4, 8, 16) if channels == 1 else (8, 16))
        for transparent in ((False, True) if channels in (1, 3) else (False,))
    },
    **{
        f"{depth} bits, named by more": png(np.arange(64).reshape(8, 8, 1) % 16, depth, 0x5107)
        for depth in (4, 8)
    },
    "RGB, one transparent": saved(picture(), transparency=picture().getpixel((0, 0))),
    "grey, one transparent": saved(picture("L"), transparency=picture("L").getpixel((0, 0))),
    **{
        f"palette, {bits} bits": saved(
            picture().quantize(2**bits),
            bits=bits,
            transparency=bytes([9, 200] * 2**bits)[: 2**bits],
        )
        for bits in (1, 2, 4, 8)
    },
    **{f"JPEG, {mode}": saved(picture(mode), "JPEG") for mode in ("RGB", "L", "CMYK")},
}


def turned(form, orientation, endian):
    exif = Image.Exif()
    exif.endian = endian
    exif.update({0x10F: "a maker", 0x110: "a model", 0x112: orientation, 0x131: "a program"})
    return saved(picture(), form, exif=exif.tobytes(), icc_profile=bytes(5000))


TURNS = {
    f"{form} {orientation} {endian}": turned(form, orientation, endian)
    for form in ("JPEG", "PNG")
    for orientation in range(10)  # 0 and 9 are none
    for endian in "<>"
}
DAMAGED = {
    name: saved(picture(), "JPEG", exif=b"Exif\0\0" + content)
    for name, content in {"cut": b"MM\0*\0\0\0\x08\0\1\1\x12", "noise": bytes(range(256))}.items()
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("files", [KINDS, TURNS, DAMAGED], ids=["kinds", "turns", "damaged"])
def test_files_are_read_as_localize_reads_them(files, tmp_path):
    decode = tf.function(lambda content: decode_file(content, (64, 64)))
    for name, content in files.items():
        (tmp_path / "photo").write_bytes(content)
        expected = read_photo(tmp_path / "photo", (64, 64))
        pixels, size = decode(tf.constant(content))
        np.testing.assert_allclose(pixels, expected.pixels, atol=1, err_msg=name)
        assert size.numpy().tolist() == [expected.width, expected.height], name


def test_masks_and_boxes_are_of_the_upright_photo(fcam, signatures, tmp_path):
    file = turned("JPEG", 6, ">")
    (tmp_path / "photo").write_bytes(file)
    found = signatures["serve_bytes"](image_bytes=tf.constant([file]))
    assert Image.open(io.BytesIO(found["mask_bytes"][0].numpy())).size == (40, 90)
    expected = fcam.localize(read_photo(tmp_path / "photo", (64, 64)).pixels[None])
    np.testing.assert_allclose(found["heatmap"], expected.heatmaps, atol=1e-2)


def claiming(form, width, height):
    """Return a small file whose header says that it is another size."""
    file = bytearray(encoded(IMAGES[0], form))
    if form == "PNG":
        file[16:24] = struct.pack(">II", width, height)
        file[29:33] = struct.pack(">I", zlib.crc32(file[12:29]))
    else:
        start = file.index(b"\xff\xc0") + 5  # of the frame's height and width
        file[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(file)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(60000, 60000), (65000, 1100)])
def test_too_large_a_photo_is_refused_by_its_header(signatures, form, size):
    good = encoded(IMAGES[0], "PNG")
    with pytest.raises(tf.errors.InvalidArgumentError, match="too many pixels"):
        signatures["serve_bytes"](image_bytes=tf.constant([good, claiming(form, *size)]))


@pytest.mark.parametrize("form", ["GIF", "BMP"])
def test_other_kinds_of_files_are_refused(signatures, form):
    with pytest.raises(tf.errors.InvalidArgumentError, match="neither a JPEG nor a PNG"):
        signatures["serve_bytes"](image_bytes=tf.constant([encoded(IMAGES[0], form)]))


def test_a_batch_of_no_files_fails(signatures):
    with pytest.raises(tf.errors.InvalidArgumentError, match="no images or no pixels"):
        signatures["serve_bytes"](image_bytes=tf.constant([], tf.string))
