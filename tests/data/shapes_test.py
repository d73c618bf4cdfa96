import numpy as np
import pytest

from fcam_tf.data import check_dataset, draw_shapes, load_wsol, write_shapes
from fcam_tf.data.shapes import CLASSES


def test_same_seed_same_picture_and_only_the_outline_depends_on_the_class():
    one, again, other = (draw_shapes(label, 5) for label in (1, 1, 2))
    np.testing.assert_array_equal(one.image, again.image)
    assert not np.array_equal(one.image, draw_shapes(1, 6).image)
    assert len(one.masks) == len(other.masks) == 1
    same = ~np.logical_or.reduce([*one.masks, *other.masks])
    np.testing.assert_array_equal(one.image[same], other.image[same])


def test_boxes_and_masks_agree():
    several = 0
    for seed in range(30):
        picture = draw_shapes(seed % len(CLASSES), seed, size=64)
        assert picture.image.dtype == np.uint8
        assert len(picture.masks) == len(picture.boxes)
        several += len(picture.masks) > 1
        assert np.sum(picture.masks, axis=0).max() == 1  # instances do not overlap
        for mask, (x0, y0, x1, y1) in zip(picture.masks, picture.boxes, strict=True):
            assert mask.shape == picture.image.shape[:2]
            inside = mask[y0 : y1 + 1, x0 : x1 + 1]
            assert inside.sum() == mask.sum() > 40
            edges = (inside[0], inside[-1], inside[:, 0], inside[:, -1])
            assert all(edge.any() for edge in edges)
    assert 0 < several < 20


def test_colour_does_not_tell_the_class():
    """A nearest-neighbour classifier on colour statistics stays near chance, 20 %."""

    def describe(picture):
        pixels = picture.image.reshape(-1, 3).astype(float)
        return np.concatenate([pixels.mean(0), pixels.std(0)])

    pictures = [draw_shapes(seed % 5, seed, size=48) for seed in range(500)]
    features = np.stack([describe(picture) for picture in pictures])
    labels = np.array([picture.label for picture in pictures])
    distance = np.linalg.norm(features[:300, None] - features[None, 300:], axis=2)
    right = (labels[:300][distance.argmin(axis=0)] == labels[300:]).mean()
    assert right < 0.32


def test_object_is_not_a_brightness_or_saturation_threshold():
    scores = []
    for seed in range(60):
        picture = draw_shapes(seed % 5, seed, size=64)
        inside = np.logical_or.reduce(picture.masks)
        grey = picture.image.mean(axis=2)
        spread = np.ptp(picture.image.astype(int), axis=2)
        scores.append(
            [
                grey[inside].mean() > grey[~inside].mean(),
                spread[inside].mean() > spread[~inside].mean(),
            ]
        )
    assert (np.abs(np.mean(scores, axis=0) - 0.5) < 0.25).all()


def test_written_in_the_benchmark_s_layout(shapes):
    assert check_dataset(shapes).ok
    split = load_wsol(shapes, "test")
    assert split.class_names == CLASSES
    assert split.labels.tolist() == [0, 1, 2, 3, 4]
    masks, ignore = split.read_masks(0)
    assert ignore is None
    assert masks[0].shape == split.size(0)[::-1]


def test_splits_do_not_depend_on_counts(tmp_path, shapes):
    other = write_shapes(tmp_path / "other", {"test": 2}, size=48)
    for name in ("test_00000.png", "test_00001.png"):
        assert (other / "images" / name).read_bytes() == (shapes / "images" / name).read_bytes()
    assert len({f.read_bytes() for f in (shapes / "images").iterdir()}) == 15


def test_leaves_nothing_behind_when_it_fails(tmp_path, monkeypatch):
    monkeypatch.setattr("fcam_tf.data.shapes.write_split", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_shapes(tmp_path / "shapes")
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments_are_refused(shapes):
    with pytest.raises(FileExistsError, match="exists"):
        write_shapes(shapes)
    with pytest.raises(ValueError, match="`label` must be in"):
        draw_shapes(5, 0)
    with pytest.raises(ValueError, match="`size` must be 32 or more"):
        draw_shapes(0, 0, size=8)
