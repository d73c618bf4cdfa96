import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from fcam_tf.data import Split
from fcam_tf.scale.blocks import Block, divide, make_file, plan_blocks, store_block
from fcam_tf.training.cam_store import Teacher, claimed, store


def darkness(images, labels):
    """Return maps of one cell: the label, and how dark the left upper pixel is."""
    dark = 1 - np.asarray(images)[:, 0, 0, 0] / 255
    return np.stack([np.asarray(labels), dark], 1).astype("float32")[:, None]


TEACHER = Teacher(darkness, {"method": "darkness"}, size=8)


@pytest.fixture
def split(forty):
    paths = tuple(sorted(forty.glob("*.png")))
    ids = tuple(path.name for path in paths)
    return Split("train", ids, paths, np.arange(40) % 2, ("a", "b"))


def work(split, folder, size=16, blocks=None):
    """Store maps as several workers do, one after the other, the last blocks first."""
    with claimed(TEACHER, split, folder) as settings:
        todo = plan_blocks(split, folder, size) if blocks is None else blocks
        make_file(TEACHER, len(split), folder)
        like = split.subset([])
        return sum(store_block(block, TEACHER, like, folder, settings) for block in reversed(todo))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_batches_are_those_of_one_machine(split):
    stamps = np.arange(100, 140)
    blocks = divide(split, stamps, np.array([3, 35]), 16)
    assert [block.rows for block in blocks] == [tuple(range(16)), tuple(range(32, 40))]
    assert blocks[1].stamps == tuple(range(132, 140))
    assert blocks[1].labels == (0, 1) * 4
    assert blocks[1].paths[0] == str(split.paths[32])
    assert [block.name for block in divide(split, stamps, np.arange(40), 32)] == ["0-31", "32-39"]
    assert divide(split, stamps, np.array([], np.int64), 16) == []


def test_blocks_are_of_whole_batches(split):
    with pytest.raises(ValueError, match=r"`shard_size` must be a multiple of 16.*Received: 20\."):
        divide(split, np.arange(40), np.arange(40), 20)


def test_a_line_is_a_block():
    block = Block((3, 4), ("a\udcff.png", "b\n.png"), (-1, 2), (-(2**63), 7))
    assert block.line().count(b"\n") == 1
    assert Block.from_line(block.line()) == block


@pytest.mark.parametrize("size", [16, 256])
def test_the_folder_is_that_of_one_machine(split, tmp_path, size):
    one, other = tmp_path / "one", tmp_path / "other"
    found = store(TEACHER, split, one, verbose=0)
    np.testing.assert_array_equal(found[:, 0, 0], np.arange(40) % 2)
    assert work(split, other, size) == 40
    assert contents(one) == contents(other)
    # What trains finds all of it there, and this has nothing to do.
    nothing = dataclasses.replace(TEACHER, cam=None)
    np.testing.assert_array_equal(store(nothing, split, other, verbose=0), found)
    assert plan_blocks(split, other) == []


def test_a_rerun_does_what_is_missing(split, tmp_path):
    work(split, tmp_path)
    before = contents(tmp_path)
    file = bytearray(before["cams.npy"])
    file[-1] ^= 1  # of the last photo
    (tmp_path / "cams.npy").write_bytes(file)
    assert [block.name for block in plan_blocks(split, tmp_path, 16)] == ["32-39"]
    assert work(split, tmp_path) == 8
    assert contents(tmp_path) == before


def test_a_worker_that_outlives_its_job_writes_nothing(split, tmp_path):
    """To the folder of another job, that is."""
    work(split, tmp_path)
    about = tmp_path / "cams.json"
    settings = json.loads(about.read_text())
    about.write_text(about.read_text().replace("darkness", "layercam"))
    file = tmp_path / "cams.npy"
    file.write_bytes(before := file.read_bytes()[:-1] + b"x")
    block = divide(split, np.arange(40), np.arange(40), 256)[0]
    with pytest.raises(OSError, match="is of other maps now: method was 'layercam'"):
        store_block(block, TEACHER, split.subset([]), tmp_path, settings)
    assert file.read_bytes() == before


def test_a_photo_that_is_broken_is_named(split, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(split.paths[0]).read_bytes()[:100])
    split = dataclasses.replace(split, paths=(*split.paths[:20], broken, *split.paths[21:]))
    with pytest.raises(OSError, match=r"broken\.png: "):
        work(split, tmp_path / "a")
    # Batches before it are kept; the last block came first.
    assert [block.name for block in plan_blocks(split, tmp_path / "a", 16)] == ["0-15", "16-31"]
