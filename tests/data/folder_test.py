import pytest
from PIL import Image

from fcam_tf.data import load_folder


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
        load_folder(tmp_path, "test")
    with pytest.raises(FileNotFoundError, match="no class folders with images"):
        load_folder(tmp_path)
