import functools
import importlib

import pytest

from fcam_tf.data import load, write_shapes

loading = importlib.import_module("fcam_tf.data.load")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Where generated data goes: four pictures of 32 pixels."""
    few = functools.partial(write_shapes, counts={"train": 3, "val": 1}, size=32)
    monkeypatch.setattr(loading, "write_shapes", few)
    monkeypatch.setenv("FCAM_CACHE", str(tmp_path))
    return tmp_path


def test_shapes_are_written_once(cache):
    first = load("shapes", "train")
    written = (cache / "shapes" / "class_names.txt").stat().st_mtime_ns
    assert len(first) == 3
    assert len(load("shapes", "val")) == 1
    assert (cache / "shapes" / "class_names.txt").stat().st_mtime_ns == written
    assert load(cache / "shapes", "train").ids == first.ids


def test_a_folder_is_not_taken_for_the_generated_data_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("shapes", "birds"):
        (tmp_path / name).mkdir()
    assert loading.absolute("shapes") == "shapes"
    assert loading.absolute("tfds:caltech_birds2011") == "tfds:caltech_birds2011"
    assert loading.absolute("birds") == str(tmp_path / "birds")
    assert loading.absolute("./shapes") == str(tmp_path / "shapes")
    assert loading.absolute("nothing") == "nothing"


@pytest.mark.usefixtures("cache")
def test_shapes_may_be_written_by_two_at_once(monkeypatch):
    few = loading.write_shapes

    def second(root):
        few(root)
        few(root)  # as if the other had ended in between

    monkeypatch.setattr(loading, "write_shapes", second)
    assert len(load("shapes", "train")) == 3


def test_class_folders(cache):
    shapes = load("shapes", "train")
    for name in ("a", "b"):
        folder = cache / "own" / "train" / name
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(shapes.paths[0].read_bytes())
    split = load(cache / "own", "train")
    assert list(split.class_names) == ["a", "b"]


def test_what_is_no_data_set(cache):
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a folder.*tfds:NAME, or shapes"):
        load(cache / "nowhere", "train")
    (cache / "shapes").touch()
    with pytest.raises(FileNotFoundError, match=r"shapes is not a folder.*FCAM_CACHE"):
        load("shapes", "train")


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("folder", ["/proc/nowhere", "/dev/null"])
def test_a_cache_that_cannot_be_written_to(monkeypatch, folder):
    monkeypatch.setenv("FCAM_CACHE", folder)
    with pytest.raises(FileNotFoundError, match=f"{folder}/shapes .* cannot be made: .*FCAM_CACHE"):
        load("shapes", "train")
