import dataclasses

import numpy as np
import pytest

from fcam_tf.data import BrokenPhotoError
from fcam_tf.evaluation import Center
from fcam_tf.evaluation.parts import Parts
from fcam_tf.evaluation.scoring import score_images, score_split
from fcam_tf.metrics import normalize_cam


def test_each_image_is_read_and_explained_once_in_order(blobs, split, tmp_path):
    parts = Parts(tmp_path, "test", len(split))
    count = []
    score_split(blobs, split, parts, batch_size=5, advance=lambda: count.append(1))
    assert blobs.seen == list(split.ids)
    assert len(count) == len(split)
    assert parts.todo() == []
    for item in parts:
        assert item.levels.shape == (224, 224)
        assert item.predicted == (item.index % 5 * 2) % 5
        assert (item.rank == 0) == (item.predicted == split.labels[item.index])
        assert item.confidence > 0.99


@pytest.mark.parametrize("stop", range(0, 12, 3))
def test_a_stop_at_any_image_loses_nothing(blobs, split, tmp_path, stop):
    class Stopping(type(blobs)):
        def __call__(self, ids, images, labels):
            if split.ids[stop] in ids:
                raise KeyboardInterrupt
            return super().__call__(ids, images, labels)

    parts = Parts(tmp_path, "test", len(split))
    with pytest.raises(KeyboardInterrupt):
        score_split(Stopping(), split, parts, batch_size=1)
    assert parts.todo() == list(range(stop, 12))
    score_split(blobs, split, parts, batch_size=4)
    assert blobs.seen == list(split.ids[stop:])
    assert [item.index for item in parts] == list(range(12))


def test_a_bad_map_stops_with_the_image_s_name_and_keeps_what_came_before(split, tmp_path):
    class Bad(Center):
        def __call__(self, ids, images, labels):
            maps, _ = super().__call__(ids, images, labels)
            maps = np.array(maps)
            maps[[name == split.ids[7] for name in ids]] = np.nan
            return maps, None

    parts = Parts(tmp_path, "test", len(split))
    with pytest.raises(ValueError, match=f"map of {split.ids[7]} contains NaN"):
        score_split(Bad(), split, parts, batch_size=5)
    assert parts.todo() == [7, 8, 9, 10, 11]


def test_a_broken_photo_is_named(blobs, split, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    paths = (*split.paths[:3], broken, *split.paths[4:])
    parts = Parts(tmp_path, "test", len(split))
    with pytest.raises(BrokenPhotoError, match=r"broken\.png: this is not a photo"):
        score_split(blobs, dataclasses.replace(split, paths=paths), parts, batch_size=2)
    assert parts.todo() == list(range(2, 12))


def test_damaged_weights_are_noticed(blobs, split, tmp_path):
    class Damaged(type(blobs)):
        def __call__(self, ids, images, labels):
            maps, logits = super().__call__(ids, images, labels)
            return maps, logits * np.nan

    with pytest.raises(ValueError, match=f"class scores of {split.ids[0]} are not finite"):
        score_split(Damaged(), split, Parts(tmp_path, "test", len(split)))


def test_predicted_classes_are_asked_for_by_none(blobs, split, tmp_path):
    asked = []

    class Asked(type(blobs)):
        def __call__(self, ids, images, labels):
            asked.append(labels)
            return super().__call__(ids, images, labels)

    score_split(Asked(), split, Parts(tmp_path / "a", "test", 12), explain_truth=False)
    score_split(Asked(), split, Parts(tmp_path / "b", "test", 12))
    assert asked[0] is None
    np.testing.assert_array_equal(asked[1], split.labels)


def test_maps_are_scaled_as_the_benchmark_does_it(split):
    """Those that are min-maxed at their own size come to what its code makes of raw ones."""
    raw = np.random.default_rng(0).normal(3, 9, (len(split), 5, 7)).astype(np.float32)
    raw[3] = 0.25  # constant
    low, high = raw.min((1, 2), keepdims=True), raw.max((1, 2), keepdims=True)
    stretched = (raw - low) / np.where(high > low, high - low, 1)

    class Coarse(Center):
        def __call__(self, ids, images, labels):  # noqa: ARG002
            return stretched[[split.ids.index(name) for name in ids]], None

    found = list(score_images(Coarse(), split, batch_size=5, scaling="bicubic"))
    for scored, cam in zip(found, raw, strict=True):
        want = np.trunc(255 * normalize_cam(cam))
        assert np.abs(scored.levels - want).max() <= 1  # where rounding crosses a level
        assert (scored.levels != want).mean() < 0.001
    assert not found[3].levels.any()
    plain = next(score_images(Coarse(), split, [0]))
    assert (plain.levels != found[0].levels).mean() > 0.1
