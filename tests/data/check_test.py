import importlib

import numpy as np
import pytest
from PIL import Image

from fcam_tf.data import check_dataset, folder_notes

loading = importlib.import_module("fcam_tf.data.load")


def append(file, line):
    file.write_text(file.read_text().rstrip("\n") + "\n" + line)


def test_a_sound_data_set(shapes):
    report = check_dataset(shapes)
    assert report.ok
    assert [(row.split, row.images, row.classes) for row in report.rows] == [
        ("train", 10, 5),
        ("test", 5, 5),
    ]
    assert report.rows[0].boxes == report.rows[0].masks >= 10
    table = str(report).splitlines()
    assert table[0].split() == ["split", "images", "classes", "boxes", "masks", "problems"]
    assert len(table) == 3


def test_a_generated_data_set(shapes, monkeypatch):
    monkeypatch.setenv("FCAM_CACHE", str(shapes.parent))
    monkeypatch.setattr(loading, "SHAPES", shapes.name)
    assert check_dataset(shapes.name) == check_dataset(shapes)


def damage_missing(root):
    (root / "images" / "test_00001.png").unlink()
    return "image_ids.txt:2: ", "test_00001.png does not exist"


def damage_broken(root):
    file = root / "images" / "test_00002.png"
    file.write_bytes(file.read_bytes()[:200])
    return "image_ids.txt:3: ", "cannot be read"


def damage_size(root):
    Image.new("RGB", (60, 61)).save(root / "images" / "test_00000.png")
    return "image_ids.txt:1: ", "is 60x61, image_sizes.txt says"


def damage_box(root):
    append(root / "metadata" / "test" / "localization.txt", "test_00000.png,0,0,5,500")
    return "image_ids.txt:1: ", "box [0, 0, 5, 500] of 'test_00000.png' is not inside 0.."


def damage_order(root):
    append(root / "metadata" / "test" / "localization.txt", "test_00000.png,9,0,5,7")
    return "image_ids.txt:1: ", "box [9, 0, 5, 7] of 'test_00000.png' has x0 > x1 or y0 > y1"


def damage_mask(root):
    file = root / "masks" / "test_00003_0.png"
    Image.fromarray(np.asarray(Image.open(file)) * 0).save(file)
    return "image_ids.txt:4: ", "test_00003_0.png is empty"


def damage_mask_jpeg(root):
    file = root / "masks" / "test_00003_0.png"
    with Image.open(file) as image:
        image.convert("L").save(file, "JPEG")
    return "image_ids.txt:4: ", "is a JPEG file, which has grey levels around the object"


def damage_mask_size(root):
    Image.new("L", (3, 2), 255).save(root / "masks" / "test_00003_0.png")
    return "image_ids.txt:4: ", "test_00003_0.png is 3x2, its image"


def damage_mask_file(root):
    (root / "masks" / "test_00003_0.png").unlink()
    return "image_ids.txt:4: ", "test_00003_0.png does not exist"


def damage_boxless(root):
    file = root / "metadata" / "test" / "localization.txt"
    lines = [line for line in file.read_text().splitlines() if "_00004" not in line]
    file.write_text("\n".join(lines))
    return "image_ids.txt:5: ", "'test_00004.png' has no box"


def damage_class(root):
    append(root / "class_names.txt", "ghost")
    return "class_labels.txt: ", "classes without images: ghost"


def damage_duplicate(root):
    for name, line in (("image_ids", ""), ("class_labels", ",0"), ("image_sizes", None)):
        text = "train_00000.png" + (line if line is not None else ",1,1")
        append(root / "metadata" / "test" / f"{name}.txt", text)
    return "image_ids.txt:6: ", "'train_00000.png' is also in split train"


def damage_line(root):
    append(root / "metadata" / "test" / "class_labels.txt", "test_00000.png;1")
    return "class_labels.txt:6: ", "need 2 comma-separated fields"


@pytest.mark.parametrize(
    "damage",
    [
        damage_missing,
        damage_broken,
        damage_size,
        damage_box,
        damage_order,
        damage_mask,
        damage_mask_jpeg,
        damage_mask_size,
        damage_mask_file,
        damage_boxless,
        damage_class,
        damage_duplicate,
        damage_line,
    ],
)
def test_finds_with_file_and_line(shapes, damage):
    place, message = damage(shapes)
    report = check_dataset(shapes)
    assert not report.ok
    assert any(f"test/{place}" in line and message in line for line in map(str, report.problems))
    assert report.rows[1].problems >= 1
    assert message in str(report)


def test_class_folders(tmp_path):
    (tmp_path / "cat").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "cat" / "1.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "cat" / "7.png")
    report = check_dataset(tmp_path)
    (problem,) = report.problems
    assert str(problem).startswith(f"{tmp_path}: has one class, 'cat', and a classifier learns")
    assert [(row.split, row.images) for row in report.rows] == [("train", 1), ("val", 1)]
    assert "1 of 2 photos are held out" in str(report)
    (tmp_path / "cat" / "2.png").write_bytes(b"nothing")
    report = check_dataset(tmp_path)
    assert [problem.file.name for problem in report.problems] == ["2.png", tmp_path.name]


def test_class_folders_in_splits(tmp_path):
    for name in ("train/cat/1", "train/dog/1", "val/dog/1"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    report = check_dataset(tmp_path)
    rows = [(row.split, row.images, row.classes) for row in report.rows]
    assert rows == [("train", 2, 2), ("val", 1, 1)]
    assert report.ok
    assert not report.notes


def test_names_that_are_not_read_are_told(shapes):
    test = shapes / "metadata" / "test"
    (test / "localization.txt").rename(test / "localisation.txt")
    test.rename(test.with_name("validation"))
    first, second = check_dataset(shapes).notes
    assert first.startswith("1 passed over, of no use in ")
    assert "localization.txt" in first
    assert first.endswith(": localisation.txt")
    assert second.startswith("1 passed over, splits of ")
    assert second.endswith(" that are not called train, val, test: validation")
    assert folder_notes(shapes) == [first, second]  # as training tells


def test_a_train_split_of_another_name_is_told(tmp_path):
    for name in ("trian/cat/1", "trian/dog/1", "val/dog/1"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    passed_over, missing = check_dataset(tmp_path).notes
    assert passed_over.endswith(": trian")
    assert missing.startswith("there is no train split")


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        check_dataset(tmp_path)
    (tmp_path / "metadata").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no <split>/image_ids.txt"):
        check_dataset(tmp_path)


@pytest.mark.parametrize("name", ["pets3", pytest.param("tiny10", marks=pytest.mark.slow)])
def test_real_data_is_sound(real_data, name):
    report = check_dataset(real_data / name)
    assert report.ok, str(report)


def test_a_label_beyond_the_names_is_a_problem_of_one_class_too(shapes):
    folder = shapes / "metadata" / "train"
    ids = (folder / "image_ids.txt").read_text().splitlines()
    (folder / "class_labels.txt").write_text("\n".join(f"{image},9" for image in ids))
    problems = [str(problem) for problem in check_dataset(shapes).problems]
    assert f"{shapes / 'class_names.txt'}: names 5 classes, but label 9 is used" in problems
    assert any("has one class, and a classifier learns" in problem for problem in problems)
