from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import fcam_tf
from fcam_tf.data import (
    BrokenPhotoError,
    Split,
    evaluation_dataset,
    load_wsol,
    naming_photos,
    training_dataset,
)


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


def test_no_thread_tunes_a_pipeline(coded):
    split, cams = coded
    options = {"resize": 48, "crop": 32}
    for dataset in (
        training_dataset(split, cams=cams, **options),
        training_dataset(split, first_epoch=1, **options),
        evaluation_dataset(split),
    ):
        assert dataset.options().autotune.enabled is False
    package = Path(fcam_tf.__file__).parent
    assert not [file for file in package.rglob("*.py") if "AUTOTUNE" in file.read_text("utf-8")]


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
