import os
import zipfile

import fsspec
import pytest

from fcam_tf.predict.inputs import Failure
from fcam_tf.scale.inputs import Shard, is_tfrecord, plan_shards


@pytest.fixture
def memory():
    """An object store that lives in this process."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    yield files
    files.store.clear()


def touched(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return [str(path) for path in paths]


def zipped(path, *members):
    with zipfile.ZipFile(path, "w") as archive:
        for name in members:
            archive.writestr(name, b"x")
    return str(path)


def entries(plan):
    return [shard.entries for shard in plan.shards]


def test_photos_are_divided_in_the_order_of_their_names(tmp_path):
    c, a, b = touched(tmp_path / "c.jpg", tmp_path / "a.jpg", tmp_path / "b.png")
    plan = plan_shards([c, str(tmp_path), a], shard_size=2)
    assert entries(plan) == [(a, b), (c,)]
    assert [shard.kind for shard in plan.shards] == ["files", "files"]
    assert [shard.name[:11] for shard in plan.shards] == ["part-00000-", "part-00001-"]
    assert plan.failures == []


def test_names_follow_from_content_alone(tmp_path):
    paths = touched(*(tmp_path / f"{n}.jpg" for n in range(4)))
    names = [shard.name for shard in plan_shards([tmp_path], shard_size=2).shards]
    assert names == [shard.name for shard in plan_shards(paths[::-1], shard_size=2).shards]
    os.utime(paths[3], (1, 1))
    changed = [shard.name for shard in plan_shards([tmp_path], shard_size=2).shards]
    assert [old == new for old, new in zip(names, changed, strict=True)] == [True, False]
    touched(tmp_path / "9.jpg")
    more = [shard.name for shard in plan_shards([tmp_path], shard_size=2).shards]
    assert more[:2] == changed
    assert len(more) == 3


def test_a_shard_is_a_line(tmp_path):
    touched(tmp_path / "\udcff.jpg")
    (shard,) = plan_shards([tmp_path]).shards
    assert Shard.from_line(shard.line()) == shard
    assert shard.line().count(b"\n") == 1


def test_members_of_a_zip_file_are_divided(tmp_path):
    members = ["b.png", "a.jpg", "note.txt", ".hidden.jpg", "1/c.jpg"]
    archive = zipped(tmp_path / "a.zip", *members)
    plan = plan_shards([archive], shard_size=2)
    assert entries(plan) == [("b.png", "a.jpg"), ("1/c.jpg",)]
    assert {(shard.kind, shard.address) for shard in plan.shards} == {("zip", archive)}


def test_globs_give_containers_and_photos_each_once(tmp_path):
    archive = zipped(tmp_path / "a.zip", "a.jpg")
    photo, record = touched(tmp_path / "b.jpg", tmp_path / "c.tfrecord")
    plan = plan_shards([f"{tmp_path}/*", f"{tmp_path}/*.zip", record])
    kinds = [(shard.kind, shard.address) for shard in plan.shards]
    assert kinds == [("files", ""), ("zip", archive), ("tfrecord", record)]
    assert entries(plan) == [(photo,), ("a.jpg",), ()]
    assert plan.failures == []


def test_a_listing_is_not_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (here,) = touched(tmp_path / "more" / "z.jpg")
    text = "gone.jpg\n\ns3://bucket/a.jpg\nmore/*.jpg\ntrain-00000-of-00002\n"
    (tmp_path / "list.txt").write_text(text)
    plan = plan_shards(["list.txt"])
    assert entries(plan) == [(str(tmp_path / "gone.jpg"), here, "s3://bucket/a.jpg"), ()]
    assert plan.shards[1].address == str(tmp_path / "train-00000-of-00002")


def test_addresses(memory, tmp_path):
    for name in ("b/2.jpg", "b/1.jpg", "b/note.txt", "b/x/3.png", "b/.hidden/4.jpg"):
        memory.pipe_file(f"/{name}", b"x")
    archive = zipped(tmp_path / "a.zip", "a.jpg")
    memory.put_file(archive, "/b/a.zip")
    b = "memory:///b"
    assert entries(plan_shards([f"{b}/"])) == [(f"{b}/1.jpg", f"{b}/2.jpg", f"{b}/x/3.png")]
    assert entries(plan_shards([f"{b}/*.jpg"], ["2*"])) == [(f"{b}/1.jpg",)]
    assert entries(plan_shards([f"{b}/a.zip", f"{b}/gone.jpg"])) == [(f"{b}/gone.jpg",), ("a.jpg",)]
    before = plan_shards([f"{b}/"]).shards[0].name
    memory.pipe_file("/b/1.jpg", b"another")
    assert plan_shards([f"{b}/"]).shards[0].name != before


def test_what_stands_for_no_photo(tmp_path, memory):
    (cut,) = touched(tmp_path / "cut.zip")
    (video,) = touched(tmp_path / "clip.mp4")
    (tar,) = touched(tmp_path / "a.tar.gz")
    empty = zipped(tmp_path / "empty.zip", "note.txt")
    memory.pipe_file("/b/note.txt", b"x")
    (tmp_path / "list.txt").write_text(f"{video}\n{tar}\n")
    gone = str(tmp_path / "gone")
    given = [cut, empty, gone, "memory://b/", "what://a/*.jpg", str(tmp_path / "list.txt")]
    plan = plan_shards(given)
    reasons = {failure.file: failure.reason for failure in plan.failures}
    assert plan.shards == []
    assert reasons.pop("what://a/*.jpg").startswith("Protocol not known: what")
    taken = "of large jobs only zip and TFRecord files are taken; localise it without Beam"
    assert reasons == {
        cut: "the archive cannot be read: File is not a zip file",
        empty: "there is no photo in it",
        gone: "there is no such file",
        "memory://b/": "no photo is there",
        video: taken,
        tar: taken,
    }
    assert Failure(gone, "there is no such file") in plan.failures


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.tfrecord", True),
        ("a.tfrecords", True),
        ("gs://b/a.tfrecord-00001-of-00010", True),
        ("train-00000-of-01024", True),
        ("a.tfrecord.jpg", False),
        ("1-of-2.jpg", False),
    ],
)
def test_names_of_tfrecord_files(name, expected):
    assert is_tfrecord(name) == expected


def test_a_listing_may_begin_with_a_mark_of_its_encoding(tmp_path):
    (tmp_path / "list.txt").write_bytes(f"\ufeff{tmp_path}/a.jpg\r\n\r\n".encode())
    (shard,) = plan_shards([tmp_path / "list.txt"]).shards
    assert shard.entries == (f"{tmp_path}/a.jpg",)


def test_an_empty_listing_is_a_failure(tmp_path):
    (tmp_path / "list.txt").write_text("\n")
    (failure,) = plan_shards([tmp_path / "list.txt"]).failures
    assert (failure.file, failure.reason) == (f"{tmp_path}/list.txt", "the listing is empty")
