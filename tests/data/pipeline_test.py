import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fcam_tf.data import (
    BrokenPhotoError,
    Split,
    broken_photos,
    check_dataset,
    evaluation_dataset,
    load_folder,
    load_wsol,
    naming_photos,
    training_dataset,
)
from fcam_tf.identity import split_sha256
from fcam_tf.photos import is_plain_jpeg, read_header, read_photo, read_pixels


@pytest.fixture
def coded(tmp_path):
    """Images whose channels, stored map and mask all say the same about each pixel."""
    y, x = np.mgrid[:64, :64]
    (tmp_path / "a").mkdir()
    paths, cams, masks = [], [], []
    for i in range(6):
        ramp = (2 * x + y + 8 * i).astype(np.uint8)
        object_ = (ramp > 100).astype(np.uint8)
        image = np.stack([ramp, object_ * 255, np.full_like(ramp, i)], axis=2)
        paths.append(tmp_path / "a" / f"{i}.png")
        masks.append(tmp_path / f"mask{i}.png")
        Image.fromarray(image).save(paths[-1])
        Image.fromarray(object_ * 255).save(masks[-1])
        cams.append(ramp / 255)
    split = Split(
        name="train",
        ids=tuple("012345"),
        paths=tuple(paths),
        labels=np.arange(6),
        class_names=tuple("abcdef"),
        masks=tuple((mask,) for mask in masks),
        ignores=(None,) * 6,
    )
    return split, np.array(cams, np.float32)


def test_image_map_and_mask_share_crop_and_flip(coded):
    split, cams = coded
    options = {"batch_size": 4, "resize": 64, "crop": 40, "seed": 3}
    seen, flipped, corners = [], 0, set()
    for batch, target in training_dataset(split, cams=cams, with_masks=True, **options):
        image = batch.numpy()
        assert image.shape[1:] == (40, 40, 3)
        np.testing.assert_allclose(target["cam"] * 255, image[..., 0], atol=1e-3)
        np.testing.assert_array_equal(target["mask"] * 255, image[..., 1])
        np.testing.assert_array_equal(target["label"], image[:, 0, 0, 2])
        assert target["mask"].dtype == tf.uint8
        seen += target["label"].numpy().tolist()
        step = image[:, 0, 1, 0] - image[:, 0, 0, 0]
        flipped += (step < 0).sum()
        corners |= set(image[:, :, :, 0].min(axis=(1, 2)).tolist())
    assert sorted(seen) == list(range(6))
    assert 0 < flipped < 6
    assert len(corners) > 3


def epochs(dataset, count=2):
    return [[(i.numpy(), y.numpy()) for i, y in dataset] for _ in range(count)]


def test_deterministic_under_a_seed_and_epochs_differ(coded):
    split, _ = coded
    options = {"batch_size": 6, "resize": 48, "crop": 32}
    first, again, other = (
        epochs(training_dataset(split, seed=seed, **options)) for seed in (1, 1, 2)
    )
    for mine, theirs in zip(first, again, strict=True):
        for (a, x), (b, y) in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(x, y)
    assert (first[0][0][0] != first[1][0][0]).any()
    assert (first[0][0][0] != other[0][0][0]).any()


def test_augments_each_batch_by_seeds_of_its_own(coded):
    split, _ = coded

    def mark(images, labels, seed):
        return images, {"label": labels, "seed": seed, "images": tf.shape(images)[0]}

    options = {"batch_size": 4, "resize": 48, "crop": 32, "augment": mark, "seed": 5}
    dataset = training_dataset(split, first_epoch=0, **options).take(4)
    seen = [target for _, target in dataset]
    assert [int(target["images"]) for target in seen] == [4, 2, 4, 2]
    seeds = [tuple(target["seed"].numpy()) for target in seen]
    assert len(set(seeds)) == 4
    later = training_dataset(split, first_epoch=1, **options).take(2)  # goes on as it would have
    assert [tuple(target["seed"].numpy()) for _, target in later] == seeds[2:]


def test_no_flip_and_no_room_is_the_plain_resize(coded):
    split, _ = coded
    train = training_dataset(split, batch_size=6, resize=32, crop=32, flip=False)
    ((image, label),) = epochs(train, 1)[0]
    ((plain, order),) = epochs(evaluation_dataset(split, batch_size=6, size=32), 1)[0]
    np.testing.assert_array_equal(image[np.argsort(label)], plain[np.argsort(order)])


def test_evaluation_keeps_order_any_size_and_the_last_batch(coded):
    split, _ = coded
    batches = list(evaluation_dataset(split, batch_size=4, size=(20, 33)))
    assert [len(image) for image, _ in batches] == [4, 2]
    assert batches[0][0].shape == (4, 20, 33, 3)
    assert batches[1][1].numpy().tolist() == [4, 5]


def test_pixels_are_pil_s_within_a_grey_level(real_data):
    split = load_wsol(real_data / "pets3", "test").subset([1])
    ((ours, _),) = evaluation_dataset(split, size=224)
    with Image.open(split.paths[0]) as image:
        pil = np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))
    difference = np.abs(ours[0].numpy() - pil)
    assert difference.max() <= 2
    assert difference.mean() < 0.3  # PIL rounds after each of its two passes


def noise(mode="RGB", size=(90, 60)):
    levels = np.random.default_rng(0).integers(0, 256, (6, 9, 4))
    image = Image.fromarray(levels.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    return image.convert(mode)


def by_xmp(orientation):
    return {"xmp": b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>' % orientation}


def turned(orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    return {"exif": exif}


ODD = {
    **{f"turned{i}.jpg": (noise(), "JPEG", turned(i)) for i in range(1, 9)},
    "turned_by_xmp.jpg": (noise(), "JPEG", by_xmp(6)),
    "upright_by_xmp.jpg": (noise(), "JPEG", by_xmp(1)),
    "progressive.jpg": (noise(), "JPEG", {"progressive": True}),
    "grey.jpg": (noise("L"), "JPEG", {}),
    "cmyk.jpg": (noise("CMYK"), "JPEG", {}),
    "large.jpg": (noise(size=(3000, 2600)), "JPEG", {}),
    "alpha.png": (noise("RGBA"), "PNG", {}),
    "grey_alpha.png": (noise("LA"), "PNG", {}),
    "palette.png": (noise("P"), "PNG", {"transparency": 3}),
    "one_bit.png": (noise("1"), "PNG", {}),
    "colour.png": (noise(), "PNG", {"transparency": (0, 0, 0)}),
    "deep.png": (Image.fromarray(np.arange(5400, dtype=np.uint16).reshape(60, 90) * 12), "PNG", {}),
    "turned.png": (noise(), "PNG", turned(6)),
    "animated.gif": (noise("P"), "GIF", {"save_all": True, "append_images": [noise("L")]}),
    "animated.webp": (noise("RGBA"), "WEBP", {"save_all": True, "append_images": [noise()]}),
    "pages.tiff": (noise("F"), "TIFF", {"save_all": True, "append_images": [noise("F")]}),
    "two.jpg": (noise(), "MPO", {"save_all": True, "append_images": [noise("L").convert("RGB")]}),
    "modern.avif": (noise(), "AVIF", {}),
    "named_as.jpg": (noise("RGBA"), "PNG", {}),
    "named_as_too.png": (noise(), "JPEG2000", {}),
    "plain.bmp": (noise(), "BMP", {}),
    "phone.heic": (noise(), "HEIF", {}),
}


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


@pytest.mark.parametrize("damage", ["cut", "empty", "missing"])
def test_a_broken_mask_is_named(shapes, damage):
    split = load_wsol(shapes, "test")
    path = split.masks[1][0]
    content = path.read_bytes()
    path.unlink() if damage == "missing" else path.write_bytes(content[: 60 * (damage == "cut")])
    reason = {"cut": "it cannot be read", "empty": "the file is empty", "missing": "no such file"}
    message = f"{path}: .*{reason[damage]}"
    with pytest.raises(BrokenPhotoError, match=message), naming_photos():
        list(training_dataset(split, resize=32, crop=32, with_masks=True))
    with pytest.raises(BrokenPhotoError, match=message):
        split.read_masks(1)


def test_other_errors_stay_as_they_are():
    with pytest.raises(tf.errors.InvalidArgumentError), naming_photos():
        tf.debugging.assert_equal(1, 2)


def whole_masks(split):
    return training_dataset(split, resize=40, crop=40, with_masks=True)


def test_ignored_pixels_and_instances_in_the_mask(shapes, tmp_path):
    split = load_wsol(shapes, "test")
    everything = tmp_path / "all.png"
    Image.new("L", split.size(0), 255).save(everything)
    ignores = (everything, *split.ignores[1:])
    marked = Split(**{**vars(split), "ignores": ignores})
    for index, values in ((0, {1, 255}), (1, {0, 1})):
        ((_, target),) = whole_masks(marked.subset([index]))
        assert set(np.unique(target["mask"])) == values


def test_boxes_stand_in_for_masks(shapes):
    split = load_wsol(shapes, "test")
    boxes = Split(**{**vars(split), "masks": None})
    for index in range(4):
        width, height = split.size(index)
        expected = np.zeros((height, width), np.uint8)
        for x0, y0, x1, y1 in split.boxes[index]:
            expected[y0 : y1 + 1, x0 : x1 + 1] = 1  # inclusive
        np.testing.assert_array_equal(boxes.read_object(index), expected)
        assert ((split.read_object(index) == 1) <= (expected == 1)).all()
    ((_, target),) = whole_masks(boxes)
    assert set(np.unique(target["mask"])) == {0, 1}


def test_bad_arguments_are_refused(coded):
    split, cams = coded
    with pytest.raises(ValueError, match="`crop` must be in"):
        training_dataset(split, resize=200, crop=224)
    with pytest.raises(ValueError, match="`cams` must have shape"):
        training_dataset(split, cams=cams[:3])
    with pytest.raises(ValueError, match="`size` must be positive"):
        evaluation_dataset(split, size=0)
    bare = Split("x", ("a",), split.paths[:1], np.array([0]), ("c",))
    with pytest.raises(ValueError, match="no masks"):
        training_dataset(bare, with_masks=True)
    with pytest.raises(ValueError, match="empty"):
        evaluation_dataset(Split("x", (), (), np.array([], int), ()))
