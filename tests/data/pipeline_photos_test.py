import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fcam_tf.data import (
    BrokenPhotoError,
    broken_photos,
    check_dataset,
    evaluation_dataset,
    load_folder,
    load_wsol,
    naming_photos,
    training_dataset,
)
from fcam_tf.data.plain_jpeg import is_plain_jpeg
from fcam_tf.identity import split_sha256
from fcam_tf.photos import read_photo, read_pixels
from tests.data.odd import ODD, noise, turned


def test_pixels_are_pil_s_within_a_grey_level(real_data):
    split = load_wsol(real_data / "pets3", "test").subset([1])
    ((ours, _),) = evaluation_dataset(split, size=224)
    with Image.open(split.paths[0]) as image:
        pil = np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))
    difference = np.abs(ours[0].numpy() - pil)
    assert difference.max() <= 2
    assert difference.mean() < 0.3  # PIL rounds after each of its two passes


@pytest.mark.parametrize("name", ODD)
def test_training_and_evaluation_see_what_localize_sees(tmp_path, name):
    if name == "phone.heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    image, form, options = ODD[name]
    (tmp_path / "c").mkdir()
    image.save(tmp_path / "c" / name, form, **options)
    split = load_folder(tmp_path)
    assert split.ids == (f"c/{name}",)
    wanted = read_pixels(split.paths[0])
    assert wanted.std() > 10
    ((seen, _),) = evaluation_dataset(split, size=wanted.shape[:2])
    np.testing.assert_array_equal(seen[0], wanted)  # what is resized
    wanted = read_photo(split.paths[0], (32, 32)).pixels
    ((seen, _),) = evaluation_dataset(split, size=32)
    assert np.abs(seen[0].numpy() - wanted).max() <= 2  # Pillow rounds twice
    ((trained, _),) = training_dataset(split, resize=32, crop=32, flip=False)
    np.testing.assert_array_equal(trained[0], seen[0])


def test_names_that_are_no_text(tmp_path):
    names = [os.fsdecode(b"caf\xe9.jpg"), "two\nlines.png"]
    (tmp_path / names[0] / "c").mkdir(parents=True)
    for name in names:
        noise().save(tmp_path / names[0] / "c" / name)
    split = load_folder(tmp_path / names[0])
    assert split.ids == (r"c/caf\udce9.jpg", r"c/two\nlines.png")
    assert len(split_sha256(split)) == 64
    ((seen, _),) = evaluation_dataset(split, size=(60, 90))
    for image, path in zip(seen, split.paths, strict=True):
        np.testing.assert_array_equal(image, read_pixels(path))
    split.paths[1].write_bytes(b"")
    message = r"caf\\udce9\.jpg/c/two\\nlines.png: the file is empty$"
    with pytest.raises(BrokenPhotoError, match=message), naming_photos():
        list(evaluation_dataset(split, size=32))
    problem, single = check_dataset(tmp_path / names[0]).problems
    assert "has one class, 'c'" in str(single)
    assert str(problem).isprintable()


def test_the_benchmark_reads_pixels_as_they_are_stored(tmp_path):
    folder = tmp_path / "metadata" / "test"
    folder.mkdir(parents=True)
    noise().save(tmp_path / "a.png", **turned(6))
    (folder / "image_ids.txt").write_text("a.png")
    (folder / "class_labels.txt").write_text("a.png,0")
    (folder / "localization.txt").write_text("a.png,0,0,80,50")
    split = load_wsol(tmp_path, "test")
    assert split.size(0) == (90, 60)
    ((seen, _),) = evaluation_dataset(split, size=(60, 90))
    np.testing.assert_array_equal(seen[0], np.asarray(noise()))


def test_a_broken_photo_is_named(tmp_path):
    (tmp_path / "c").mkdir()
    noise().save(tmp_path / "c" / "a.jpg")
    whole = (tmp_path / "c" / "a.jpg").read_bytes()
    (tmp_path / "c" / "é.jpg").write_bytes(whole[: len(whole) // 2])
    split = load_folder(tmp_path)
    message = r"c/é\.jpg: it cannot be read: .*truncated"
    with pytest.raises(BrokenPhotoError, match=message), naming_photos():
        list(evaluation_dataset(split, size=32))
    model = tf.keras.Sequential([tf.keras.layers.GlobalAveragePooling2D()])
    with pytest.raises(BrokenPhotoError, match=message), naming_photos():
        model.predict(evaluation_dataset(split, size=32), verbose=0)


@pytest.fixture
def damaged(tmp_path):
    """A split of two JPEGs, and its second file with a byte of 255 at each place in turn."""
    (tmp_path / "c").mkdir()
    for name in "ab":
        noise().save(tmp_path / "c" / f"{name}.jpg")
    split = load_folder(tmp_path)
    path = split.paths[1]
    whole = path.read_bytes()

    def damages():
        for place in reversed(range(len(whole) - 2)):
            path.write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
            yield path.read_bytes()

    return split, damages()


def test_a_photo_that_tensorflow_alone_would_refuse_has_the_pixels_of_pillow(damaged):
    split, damages = damaged
    for content in damages:  # a marker where none belongs
        try:
            tf.io.decode_jpeg(content)
        except tf.errors.InvalidArgumentError:
            if not broken_photos(split, decode=True):
                break
    else:
        pytest.fail("TensorFlow refused nothing that Pillow reads")
    ((seen, _),) = evaluation_dataset(split, size=(60, 90))
    np.testing.assert_array_equal(seen[1], split.read_pixels(1))


def test_a_plain_jpeg_with_damage_inside_is_named(damaged):
    split, damages = damaged
    for content in damages:
        if is_plain_jpeg(split.paths[1]):
            try:
                tf.io.decode_jpeg(content, try_recover_truncated=True)
            except tf.errors.InvalidArgumentError:
                break
    else:
        pytest.fail("TensorFlow read everything")
    with pytest.raises(BrokenPhotoError, match=r"c/b\.jpg: "), naming_photos(split):
        list(evaluation_dataset(split, size=(60, 90)))
