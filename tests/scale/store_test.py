import json

import fsspec
import pytest

from fcam_tf.claim import FolderBusyError, SettingsChangedError
from fcam_tf.scale.inputs import Shard
from fcam_tf.scale.store import Store

A, B = (Shard(f"part-0000{n}-{n}", "files", "", (f"{n}.jpg", "ö.jpg")) for n in range(2))


@pytest.fixture(params=["here", "remote"])
def store(request, tmp_path):
    fsspec.filesystem("memory").store.clear()
    return Store(str(tmp_path / "out") if request.param == "here" else "memory://out")


def claimed(store, settings=None, *, overwrite=False):
    return store.claimed(settings or {"threshold": 0.5}, overwrite=overwrite)


def test_files_are_written_and_read(store):
    with claimed(store) as claim:
        places = claim.begin([A, B], model="x")
        store.write("part-1.parquet", b"0123")
    assert store.names() == {"part-1.parquet"}
    assert store.read("part-1.parquet", 1, 3) == b"12"
    assert [store.shard(place) for place in places] == [A, B]
    assert json.loads(store.read("settings.json")) == {"settings": {"threshold": 0.5}, "model": "x"}
    store.remove("part-1.parquet")
    assert store.names() == set()


def test_what_is_done_is_gone_on_with(store):
    with claimed(store) as claim:
        assert claim.todo([A, B]) == [A, B]
        claim.begin([A, B])
        store.write(f"{A.name}.failures.jsonl", b"{}")
        store.write(f"{A.name}.parquet", b"a")
        store.write(f"{B.name}.failures.jsonl", b"half of B")
        store.write("part-00002-2.parquet", b"of photos that are no more")
    with claimed(store) as claim:
        assert claim.todo([A, B]) == [B]
        assert [store.shard(place) for place in claim.begin([A, B])] == [B]
    assert store.names() == {f"{A.name}.failures.jsonl", f"{A.name}.parquet"}


def test_other_settings_are_refused(store):
    with claimed(store) as claim:
        claim.begin([A])
        store.write(f"{A.name}.parquet", b"a")
    with (
        pytest.raises(SettingsChangedError, match=r"threshold was 0\.5 and is now 0\.7; give"),
        claimed(store, {"threshold": 0.7}),
    ):
        pass
    with (
        pytest.raises(SettingsChangedError, match="another command or version"),
        claimed(store, {"thresholds": 1}),
    ):
        pass
    assert store.names() == {f"{A.name}.parquet"}
    with claimed(store, {"threshold": 0.7}, overwrite=True) as claim:
        assert claim.todo([A]) == [A]
        claim.begin([A])
    assert store.names() == set()
    with claimed(store, {"threshold": 0.7}) as claim:
        assert claim.todo([A]) == [A]


def test_results_without_settings_are_refused(store):
    with claimed(store) as claim:
        claim.begin([A])
        store.write(f"{A.name}.parquet", b"a")
        store.write("settings.json", b"{")
    with pytest.raises(SettingsChangedError, match=r"settings\.json is missing"), claimed(store):
        pass


def test_what_auto_came_to_must_not_change(store):
    with claimed(store) as claim:
        claim.begin([A], made_with={"method": "cam"})
        store.write(f"{A.name}.parquet", b"a")
    with claimed(store) as claim:
        claim.check({"method": "cam"}, overwrite=False)
        with pytest.raises(SettingsChangedError, match=r"made with \{'method': 'cam'\}; new"):
            claim.check({"method": "layercam"}, overwrite=False)
        claim.check({"method": "layercam"}, overwrite=True)


def test_a_folder_is_locked_and_removed_if_nothing_is_written(tmp_path):
    store = Store(str(tmp_path / "out"))
    with claimed(store):
        assert (tmp_path / "out").is_dir()
        with pytest.raises(FolderBusyError), claimed(store):
            pass
    assert not (tmp_path / "out").exists()
