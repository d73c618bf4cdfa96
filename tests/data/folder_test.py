import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fcam_tf.data import folder_notes, load_folder
from fcam_tf.data.folder import find_splits, read_classes


def write(root, *names):
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (7, 5)).save(file) if file.suffix in (".png", ".webp") else file.touch()
    return root


def many(root, *classes, count=40):
    return write(root, *(f"{name}/{i}.jpg" for name, i in itertools.product(classes, range(count))))


def test_classes_in_sorted_order(tmp_path):
    for name in ("dog/2.jpg", "dog/deep/1.PNG", "cat/9.jpeg", "cat/.hidden.png", ".git/1.png"):
        file = tmp_path / "train" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (7, 5)).save(file)
    (tmp_path / "train" / "notes.txt").write_text("not an image")
    split = load_folder(tmp_path, "train")
    assert split.ids == ("cat/9.jpeg", "dog/2.jpg", "dog/deep/1.PNG")
    assert split.labels.tolist() == [0, 1, 1]
    assert split.class_names == ("cat", "dog")
    assert split.size(0) == (7, 5)
    assert split.name == "train"
    assert load_folder(tmp_path / "train").ids == split.ids


def test_nothing_to_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="not a folder"):
        load_folder(tmp_path / "nowhere", "test")
    for split in ("train", "val", "test", None):
        with pytest.raises(FileNotFoundError, match=f"{tmp_path} is empty"):
            load_folder(tmp_path, split)
    write(tmp_path, "notes.txt")
    for split in ("train", "val", "test", None):
        with pytest.raises(FileNotFoundError, match="no class folders with photos"):
            load_folder(tmp_path, split)


def test_classes_without_splits_are_divided(tmp_path):
    root = many(tmp_path, "cat", "dog")
    train, val = load_folder(root, "train"), load_folder(root, "val")
    assert set(train.ids) | set(val.ids) == set(load_folder(root).ids)
    assert not set(train.ids) & set(val.ids)
    assert 8 <= len(val) <= 24  # about 16 of 80
    assert train.class_names == val.class_names == ("cat", "dog")
    assert {id_.split("/")[0] for id_ in val.ids} == {"cat", "dog"}
    assert val.labels.tolist() == [int(id_.startswith("dog")) for id_ in val.ids]
    assert len(load_folder(root, "val", val_fraction=0.6)) > len(val)
    with pytest.raises(
        FileNotFoundError, match=r"none of its photos are held out .* fraction of 0.0"
    ):
        load_folder(root, "val", val_fraction=0.0)
    assert load_folder(root, "train", val_fraction=0.0).ids == load_folder(root).ids


def test_a_photo_that_comes_later_moves_none(tmp_path):
    root = many(tmp_path, "cat", "dog")
    before = {split: set(load_folder(root, split).ids) for split in ("train", "val")}
    many(root, "ant", "cat", count=70)
    for split, ids in before.items():
        assert ids <= set(load_folder(root, split).ids)


def test_the_rule_is_the_same_everywhere(tmp_path):
    write(tmp_path, *(f"a/{i}.png" for i in range(12)))
    held = [id_.removesuffix(".png") for id_ in load_folder(tmp_path, "val").ids]
    assert held == ["a/0", "a/8"]  # whose SHA-256 starts below 0x33, by sha256sum


@given(st.integers(1, 6), st.floats(0, 0.999))
def test_every_class_keeps_a_photo(tmp_path_factory, count, share):
    root = many(tmp_path_factory.mktemp("photos"), "a", "b", count=count)
    train = load_folder(root, "train", share)
    assert set(train.labels.tolist()) == {0, 1}
    assert train.class_names == ("a", "b")


def test_val_is_held_out_of_train_alone(tmp_path):
    root = many(tmp_path, "Training/cat", "Training/dog")
    assert {*find_splits(root)} == {"train"}
    train, val = load_folder(root, "train"), load_folder(root, "val")
    assert len(train) + len(val) == 80
    assert val.ids[0].startswith("cat/")
    (note,) = folder_notes(root)
    assert f"{len(val)} of 80 photos are held out" in note
    with pytest.raises(FileNotFoundError, match=r"no split 'test'. Available: train, val"):
        load_folder(root, "test")


@pytest.mark.parametrize("name", ["valid", "validation", "Val"])
def test_splits_by_their_usual_names(tmp_path, name):
    root = write(tmp_path, "train/a/1.jpg", "train/b/1.jpg", f"{name}/b/2.webp", "extra/b/3.jpg")
    val = load_folder(root, "val")
    assert (val.ids, val.labels.tolist(), val.class_names) == (("b/2.webp",), [1], ("a", "b"))
    assert load_folder(root, "train").ids == ("a/1.jpg", "b/1.jpg")
    assert load_folder(root, "extra").labels.tolist() == [1]
    assert folder_notes(root) == [f"1 passed over, beside the splits of {root}: extra"]


def test_classes_that_are_called_as_splits(tmp_path):
    root = write(tmp_path, "test/1.jpg", "train/1.jpg", "train/deep/2.jpg", "tram/1.jpg")
    assert load_folder(root, "train").class_names == ("test", "train", "tram")
    assert find_splits(root) == {}


def test_classes_that_only_val_has(tmp_path):
    root = write(tmp_path, "train/a/1.jpg", "val/a/2.jpg", "val/c/3.jpg")
    (root / "train" / "c").mkdir()
    with pytest.raises(ValueError, match=r"val has classes that .*train has no photo of: c$"):
        load_folder(root, "val")


def test_what_is_left_out_is_told(tmp_path):
    root = write(tmp_path, "a/1.HEIC", "a/notes.txt", "a/clip.mov", "b/1.tiff", "README")
    (root / "empty").mkdir()
    found = read_classes(root)
    assert list(found.photos) == ["a", "b"]
    assert [str(path.relative_to(root)) for path in found.passed_over] == [
        "README",
        "a/clip.mov",
        "a/notes.txt",
    ]
    notes = folder_notes(root)
    assert notes[0] == f"class folders without a photo are left out: {root / 'empty'}"
    assert notes[1].startswith("3 passed over, not photos by their names: ")


def test_linked_folders_are_told(tmp_path):
    root = write(tmp_path, "a/1.png", "b/1.png", "b/2.png")
    (root / "a" / "more").symlink_to(root / "b")
    (root / "c").symlink_to(root / "b")  # a class may be a link
    counts = {name: len(photos) for name, photos in read_classes(root).photos.items()}
    assert counts == {"a": 1, "b": 2, "c": 2}
    note = f"1 passed over, linked folders, which are not followed: {root / 'a' / 'more'}"
    assert note in folder_notes(root)


def test_the_benchmarks_layout_has_no_notes(shapes):
    assert folder_notes(shapes) == []
