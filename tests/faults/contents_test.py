import json

import numpy as np
import pytest
from PIL import Image

from tests.faults.contents import contents, damaged, differences, hidden


def write(folder):
    folder.mkdir()
    Image.new("RGB", (4, 3)).save(folder / "a.png")
    (folder / "b.json").write_text(json.dumps({"loss": [1.0, 2.0], "model_sha256": str(folder)}))
    (folder / "c.jsonl").write_text('{"x": 1}\n{"x": 2}\n')
    (folder / "d.csv").write_text("loss\n1.5\n")
    np.save(folder / "e.npy", np.arange(3.0))
    return folder


def test_the_same_but_for_rounding_and_times_is_no_difference(tmp_path):
    one, other = contents(write(tmp_path / "a")), contents(write(tmp_path / "b"))
    assert not differences(one, other)
    other["b.json"]["loss"][1] += 1e-7
    assert not differences(one, other)


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("b.json", '{"loss": [1.0, 2.1]}', "/b.json/loss/1: 2.0 and 2.1"),
        ("b.json", '{"loss": [1.0]}', "/b.json/loss/1: 2.0 and None"),
        ("c.jsonl", '{"x": 1}\n', "/c.jsonl/1: "),
        ("d.csv", "loss\n1.6\n", "/d.csv/1/0: 1.5 and 1.6"),
        ("f.txt", "more", "/f.txt: None and "),
    ],
)
def test_a_difference_is_named(tmp_path, name, text, where):
    wanted, folder = contents(write(tmp_path / "a")), write(tmp_path / "b")
    (folder / name).write_text(text)
    (found,) = differences(wanted, contents(folder))
    assert found.startswith(where)


def test_pictures_of_other_sizes_differ():
    small, large = np.zeros((2, 3), np.uint8), np.zeros((3, 3), np.uint8)
    assert differences({"a.png": small}, {"a.png": large})
    assert not differences({"a.png": small}, {"a.png": small.copy()})


@pytest.mark.parametrize("name", ["a.png", "b.json", "e.npy"])
def test_half_a_file_is_found(tmp_path, name):
    folder = write(tmp_path / "a")
    assert not damaged(folder)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    (found,) = damaged(folder)
    assert found.startswith(f"{name}: ")


def test_unfinished_files_are_hidden(tmp_path):
    (tmp_path / ".a.json.part").mkdir()
    (tmp_path / ".a.json.part" / "a.json").write_text("{")
    assert not contents(tmp_path)
    (tmp_path / ".b.json.part" / "tmp01234567").mkdir(parents=True)  # b.json has its name
    assert hidden(tmp_path) == [".a.json.part/a.json"]
    download = tmp_path / "zoo" / "b.part"
    download.mkdir(parents=True)
    (download / "b.json").write_text("[1,")
    assert not damaged(tmp_path)
    assert hidden(tmp_path)[1:] == ["zoo/b.part/b.json"]
