import zipfile

import fsspec
import pytest
import tensorflow as tf

from fcam_tf.predict.inputs import Failure
from fcam_tf.scale.inputs import Shard, plan_shards
from fcam_tf.scale.reading import read_photos


def record(**features):
    values = {
        name.replace("__", "/"): tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for name, value in features.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=values)).SerializeToString()


def write_records(path, *records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for each in records:
            writer.write(each)
    return str(path)


def read(shard, folder):
    """Return the bytes of each photo by its name, or why it is not there."""
    folder.mkdir(exist_ok=True)
    items = list(read_photos(shard, folder))
    return dict(
        (item.file, item.reason) if isinstance(item, Failure) else (item[0], item[1].read_bytes())
        for item in items
    )


def test_files_here_are_read_where_they_are(tmp_path):
    paths = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    shard = Shard("part", "files", "", tuple(map(str, paths)))
    assert list(read_photos(shard, tmp_path)) == [(str(path), path) for path in paths]


def test_addresses_are_fetched_in_their_order(tmp_path):
    files = fsspec.filesystem("memory")
    names = [f"memory://photos/{number}.png" for number in range(40)]
    for number, name in enumerate(names):
        files.pipe_file(name, bytes([number]))
    gone = "memory://photos/gone.png"
    found = read(Shard("part", "files", "", (*names, gone)), tmp_path / "here")
    assert list(found) == [*names, gone]
    assert [found[name] for name in names] == [bytes([number]) for number in range(40)]
    assert found[gone] == "there is no such file"


def test_members_of_a_zip_file(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("1/a.png", b"first")
        archive.writestr("b.png", b"second")
    (shard,) = plan_shards([path]).shards
    assert read(shard, tmp_path / "x") == {f"{path}/1/a.png": b"first", f"{path}/b.png": b"second"}
    path.write_bytes(path.read_bytes().replace(b"second", b"sekond"))
    found = read(shard, tmp_path / "y")
    assert found[f"{path}/1/a.png"] == b"first"
    assert found[f"{path}/b.png"].startswith("it cannot be read: Bad CRC-32")


def test_damage_of_bzip2_in_a_zip_file_is_that_of_one_photo(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.png", bytes(range(256)))
        archive.writestr("b.png", b"second")
    (shard,) = plan_shards([path]).shards
    data = bytearray(path.read_bytes())
    data[70] ^= 255
    path.write_bytes(data)
    assert read(shard, tmp_path / "x") == {
        f"{path}/a.png": "it cannot be read: Invalid data stream",
        f"{path}/b.png": b"second",
    }


@pytest.mark.parametrize("remote", [False, True])
def test_records_of_tfrecord(tmp_path, remote):
    path = write_records(
        tmp_path / "a.tfrecord",
        record(image__encoded=b"of ImageNet", image__filename=b"n01.JPEG"),
        record(image=b"of TFDS", file_name=b"cat/1.png"),
        record(image=b"without a name"),
        record(label=b"1"),
    )
    if remote:
        fsspec.filesystem("memory").put_file(path, "/records/a.tfrecord")
        path = "memory://records/a.tfrecord"
    (shard,) = plan_shards([path]).shards
    assert read(shard, tmp_path / "x") == {
        f"{path}/0/n01.JPEG": b"of ImageNet",
        f"{path}/1/cat/1.png": b"of TFDS",
        f"{path}/2": b"without a name",
        f"{path}/3": "there is no photo in this record (image/encoded or image)",
    }


def test_hostile_records_are_failures_or_harmless(tmp_path):
    names = {"1": b"a.\0jpg", "2": b"a." + b"j" * 300, "3": b"../../a.jpg"}
    path = write_records(
        tmp_path / "a.tfrecord",
        b"\xff\xff",
        *(record(image=key.encode(), file_name=name) for key, name in names.items()),
    )
    (shard,) = plan_shards([path]).shards
    found = read(shard, tmp_path / "x")
    assert found.pop(f"{path}/0") == "this record is no tf.train.Example"
    assert found == {f"{path}/{key}/{names[key].decode()}": key.encode() for key in names}
    assert sorted(place.name for place in (tmp_path / "x").iterdir()) == ["1", "2", "3.jpg"]


def test_a_cut_tfrecord_file_gives_what_it_has(tmp_path):
    path = write_records(tmp_path / "a.tfrecord", record(image=b"1"), record(image=b"2"))
    (shard,) = plan_shards([path]).shards
    (tmp_path / "a.tfrecord").write_bytes((tmp_path / "a.tfrecord").read_bytes()[:-1])
    found = read(shard, tmp_path / "x")
    assert found.pop(f"{path}/0") == b"1"
    (reason,) = found.values()
    assert reason.startswith("it cannot be read to its end: ")


def test_a_tfrecord_file_that_is_gone_may_come_back(tmp_path):
    with pytest.raises((OSError, tf.errors.NotFoundError)):
        list(read_photos(Shard("part", "tfrecord", str(tmp_path / "a"), ()), tmp_path))
