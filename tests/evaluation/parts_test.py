import numpy as np
import pytest

from fcam_tf import metrics
from fcam_tf.evaluation.parts import Parts
from fcam_tf.evaluation.scores import score_map


def scored(index, instances=1, mask=True):
    rng = np.random.default_rng(index)
    boxes = np.array([[0, 0, 5 + k, 9] for k in range(instances)])
    truth = {"boxes": boxes} if boxes is not None else {}
    truth |= {"mask": np.ones((12, 12), np.uint8)} if mask else {}
    known = {"rank": index % 3, "predicted": index, "confidence": 0.5}
    return score_map(rng.random((12, 12)), truth, "x", index=index, **known)


def test_what_is_saved_comes_back(tmp_path):
    items = [scored(0), scored(1, instances=3), scored(2, instances=2)]
    parts = Parts(tmp_path, "test", 4)
    parts.save(items[:2])
    parts.save(items[2:])
    for got, want in zip(parts, items, strict=True):
        assert (got.index, got.rank, got.predicted, got.confidence) == (
            *(want.index, want.rank, want.predicted),
            want.confidence,
        )
        for name in ("levels", "otsu", "activation", "boxes"):
            np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
        assert got.kept.keys() == want.kept.keys()
        for name, values in want.kept.items():
            np.testing.assert_array_equal(got.kept[name], values)
    assert parts.todo() == [3]
    assert list(parts.read([2, 0])) == [0, 2]


def test_what_a_split_does_not_have_is_not_there(tmp_path):
    parts = Parts(tmp_path, "test", 1)
    parts.save([scored(0, mask=False)])
    assert list(next(iter(parts)).kept) == ["MaxBoxAcc", "MaxBoxAccV2", "MaxBoxAccV3"]


def test_results_without_a_metric_that_came_later_are_made_again(tmp_path, monkeypatch):
    stamps = np.array([7])
    Parts(tmp_path, "test", 1, stamps).save([scored(0)])
    assert Parts(tmp_path, "test", 1, stamps).todo() == []
    monkeypatch.setitem(metrics.MEASURES, "Newest", metrics.MEASURES["PxAP"])
    assert Parts(tmp_path, "test", 1, stamps).todo() == [0]


def test_what_has_changed_is_dropped_and_nothing_else(tmp_path):
    stamps = np.array([7, 8, 9])
    parts = Parts(tmp_path, "test", 3, stamps)
    parts.save([scored(0)])
    parts.save([scored(1), scored(2)])
    assert Parts(tmp_path, "test", 3, stamps).todo() == []
    stamps = np.array([7, 8, 0])
    assert Parts(tmp_path, "test", 3).todo() == []
    assert Parts(tmp_path, "test", 3, stamps).todo() == [1, 2]
    assert len(list((tmp_path / "parts").iterdir())) == 2  # asking changes nothing
    Parts(tmp_path, "test", 3, stamps).remove_changed()
    assert [item.index for item in Parts(tmp_path, "test", 3)] == [0]


@pytest.mark.parametrize("damage", [b"", b"PK", None])
def test_what_cannot_be_read_is_scored_anew(tmp_path, damage):
    Parts(tmp_path, "test", 1).save([scored(0)])  # without a stamp, as an older version did
    (file,) = (tmp_path / "parts").iterdir()
    if damage is not None:
        file.write_bytes(damage)
    assert Parts(tmp_path, "test", 1, np.array([7])).todo() == [0]


def test_splits_do_not_mix_and_files_appear_whole(tmp_path, monkeypatch):
    Parts(tmp_path, "val", 2).save([scored(0)])
    assert Parts(tmp_path, "test", 2).todo() == [0, 1]

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", stop)
    with pytest.raises(KeyboardInterrupt):
        Parts(tmp_path, "test", 2).save([scored(0)])
    assert Parts(tmp_path, "test", 2).todo() == [0, 1]
