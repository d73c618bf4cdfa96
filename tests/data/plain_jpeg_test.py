import os

import pytest

from fcam_tf.data.plain_jpeg import is_plain_jpeg
from fcam_tf.photos import read_header
from tests.data.odd import ODD, noise


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        *((f"turned{i}.jpg", i == 1) for i in range(1, 9)),
        *(("turned_by_xmp.jpg", False), ("upright_by_xmp.jpg", True)),
        *(("progressive.jpg", True), ("grey.jpg", True), ("cmyk.jpg", False)),
        *(("large.jpg", False), ("two.jpg", True), ("named_as.jpg", False)),
    ],
)
def test_which_files_tensorflow_decodes(tmp_path, name, plain):
    image, form, options = ODD[name]
    image.save(tmp_path / name, form, **options)
    assert is_plain_jpeg(tmp_path / name) is plain
    if name.startswith("turned"):
        assert is_plain_jpeg(tmp_path / name, upright=False)


def test_tensorflow_decodes_whole_regular_files_alone(tmp_path):
    noise().save(tmp_path / "a.jpg")
    assert is_plain_jpeg(tmp_path / "a.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-1])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    for name in ("cut", "empty", "folder", "pipe", "missing"):
        assert not is_plain_jpeg(tmp_path / f"{name}.jpg")


def test_big_endian_exif(tmp_path):
    for orientation, plain in ((1, True), (6, False)):
        exif = b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0%c\0\0\0\0\0\0" % orientation
        noise().save(tmp_path / "a.jpg", exif=exif)
        assert read_header(tmp_path / "a.jpg")[2] is not plain
        assert is_plain_jpeg(tmp_path / "a.jpg") is plain
