import io
import json

import fsspec
import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from fcam_tf.predict import LocalizeSettings, localize_files, read_results
from fcam_tf.predict.inputs import Failure
from fcam_tf.scale.inputs import plan_shards
from fcam_tf.scale.rows import map_of
from fcam_tf.scale.shards import Localized, localize_shard, told
from fcam_tf.scale.store import Store
from tests.predict.conftest import fake_localizer  # noqa: F401 - a fixture

SETTINGS = LocalizeSettings("fake", "0", "brightness", "otsu")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        pixels = rng.integers(0, 256, (20, 24, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "2.png").write_bytes(b"no photo")
    return folder


def rows(found):
    return pyarrow.parquet.read_table(io.BytesIO(found.rows)).to_pylist()


def test_it_finds_what_one_machine_finds(photos, tmp_path, fake_localizer):  # noqa: F811
    (shard,) = plan_shards([photos]).shards
    found = localize_shard(shard, fake_localizer(), [], SETTINGS, batch_size=2)
    job = localize_files(fake_localizer(), photos, tmp_path / "out", heatmap="npy", mask=["rle"])
    assert found.name == shard.name
    assert found.photos == job.localized == 4
    assert found.failures == tuple(job.failures)
    for row, record in zip(rows(found), read_results(tmp_path / "out"), strict=True):
        assert row["boxes"] == [record["box"]]
        assert row["masks"] == [record["rle"]["counts"]]
        assert row["areas"] == [record["area"]]
        assert row["heats"] == [record["heat"]]
        for key in ("file", "width", "height", "label", "label_name", "score", "threshold"):
            assert row[key] == record[key], key
        assert map_of(row).shape == (16, 16)


def test_batches_are_those_of_the_shard(photos, fake_localizer):  # noqa: F811
    localizer = fake_localizer()
    for shard in plan_shards([photos], shard_size=3).shards:
        localize_shard(shard, localizer, [], SETTINGS, batch_size=2)
    assert localizer.batches == [2, 2]


def test_fetched_photos_have_their_addresses(photos, fake_localizer):  # noqa: F811
    files = fsspec.filesystem("memory")
    for path in photos.iterdir():
        files.put_file(str(path), f"/fetched/{path.name}")
    (shard,) = plan_shards(["memory:///fetched/"]).shards
    found = localize_shard(shard, fake_localizer(), [], SETTINGS, maps=False)
    assert [row["file"] for row in rows(found)] == [
        f"memory:///fetched/{number}.png" for number in (0, 1, 3, 4)
    ]
    (failure,) = found.failures
    assert failure.file == "memory:///fetched/2.png"
    assert failure.reason.startswith("this is not a photo")


def test_rows_are_written_last(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(Store, "write", lambda _, name, data: order.append((name, data)))
    Localized("part-1", 0, b"rows", (Failure("a\n.jpg", "it is empty"),)).write(Store(""))
    (name, data), last = order
    assert name == "part-1.failures.jsonl"
    assert json.loads(data) == {"file": "a\n.jpg", "reason": "it is empty"}
    assert last == ("part-1.parquet", b"rows")
    order.clear()
    Localized("part-1", 1, b"rows", ()).write(Store(str(tmp_path)))
    assert [name for name, _ in order] == ["part-1.parquet"]


def test_a_failure_is_a_line():
    assert told(Failure("a\n.jpg", "it is empty")) == "a\\n.jpg: it is empty"
