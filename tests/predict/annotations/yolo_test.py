from pathlib import Path

import pytest
import yaml

from fcam_tf.predict.annotations import voc, yolo


def test_labels(tmp_path, results):
    file = yolo.write(tmp_path, results)
    labels = tmp_path / "yolo" / "labels"
    # (10 + 20 / 2) / 100, (20 + 40 / 2) / 80, 20 / 100, 40 / 80; 99.5 / 100, 79.5 / 80, 1 pixel
    assert (labels / "my cat.txt").read_text().splitlines() == [
        "1 0.200000 0.500000 0.200000 0.500000",
        "0 0.995000 0.993750 0.010000 0.012500",
    ]
    assert not (labels / "sub" / "猫.txt").read_bytes()
    assert (labels / "z.zip" / "é.v2.txt").read_text().startswith("1 ")
    read = yaml.safe_load(file.read_text("utf-8"))
    assert read.pop("names") == {0: "dog & <wolf>", 1: "tabby, tabby cat"}
    assert read == {"path": str(tmp_path / "yolo"), "train": "images", "val": "images"}


def test_each_image_has_its_labels_where_trainers_look(tmp_path, results):
    yolo.write(tmp_path, results)
    images = tmp_path / "yolo" / "images"
    links = [path for path in images.rglob("*") if path.is_symlink()]
    assert sorted(str(path.readlink()) for path in links) == sorted(photo.file for photo in results)
    for path in links:
        assert Path(labels_of(path)).exists()


def labels_of(image):
    """As Ultralytics finds them (`img2label_paths`)."""
    return "/labels/".join(str(image).rsplit("/images/", 1)).rsplit(".", 1)[0] + ".txt"


def test_folders_called_images_keep_their_labels(tmp_path, make):
    write, record, found = make
    names = ("images/1", "photos/1", "a/images/2", "images/images/3", "images.v2/4", "5/images")
    boxes = [[0, 0, number, 1] for number in range(len(names))]
    photos = [
        record(f"/{name}.jpg", name, found(0, "cat", 1.0, box))
        for name, box in zip(names, boxes, strict=True)
    ]
    yolo.write(tmp_path, write(tmp_path / "out", *photos))
    links = [path for path in (tmp_path / "yolo/images").rglob("*") if path.is_symlink()]
    widths = {
        str(path.readlink()): float(Path(labels_of(path)).read_text().split()[3]) for path in links
    }
    expected = {f"/{name}.jpg": (n + 1) / 100 for n, name in enumerate(names)}
    assert widths == pytest.approx(expected)


def test_folders_called_as_a_file_of_another_photo(tmp_path, make):
    write, record, found = make
    names = ("a", "a.txt/b", "a.txt_/b", "a.jpg/c", "a.xml/d", "A.XML/d")
    box = found(0, "cat", 1.0, [0, 0, 1, 1])
    results = write(tmp_path / "out", *(record(f"/{n}.jpg", n, box) for n in names))
    yolo.write(tmp_path, results)
    links = [path for path in (tmp_path / "yolo/images").rglob("*") if path.is_symlink()]
    assert {str(path.readlink()) for path in links} == {f"/{name}.jpg" for name in names}
    assert all(Path(labels_of(path)).is_file() for path in links)
    files = [path for path in voc.write(tmp_path, results).rglob("*.xml") if path.is_file()]
    assert len(files) == len(names)


def test_suffixes_that_trainers_pass_over(tmp_path, make):
    write, record, found = make
    files = ("/a.JPG", "/b.gif", "/c.jfif", "/d", "/e.webp")
    photos = [record(file, file[1], found(0, "cat", 1.0, [0, 0, 1, 1])) for file in files]
    yolo.write(tmp_path, write(tmp_path / "out", *photos))
    images = sorted(path.name for path in (tmp_path / "yolo" / "images").iterdir())
    assert images == ["a.JPG", "b.jpg", "c.jpg", "d.jpg", "e.webp"]


def test_boxes_come_back(tmp_path, results):
    yolo.write(tmp_path, results)
    line = (tmp_path / "yolo/labels/my cat.txt").read_text().splitlines()[0]
    cx, cy, w, h = map(float, line.split()[1:])
    edges = ((cx - w / 2) * 100, (cy - h / 2) * 80, (cx + w / 2) * 100, (cy + h / 2) * 80)
    assert [round(edge, 4) for edge in edges] == [10, 20, 30, 60]


def test_written_anew_as_a_whole(tmp_path, results, make):
    write, record, found = make
    yolo.write(tmp_path, results)
    results = write(
        tmp_path / "out", record("/x", "x", found(0, 'a "b"\n\udce9', 1.0, [0, 0, 1, 1]))
    )
    file = yolo.write(tmp_path, results)
    assert [path.name for path in (tmp_path / "yolo" / "labels").iterdir()] == ["x.txt"]
    assert [path.name for path in (tmp_path / "yolo" / "images").iterdir()] == ["x.jpg"]
    assert yaml.safe_load(file.read_text("utf-8"))["names"] == {0: 'a "b"\n\\udce9'}


def test_names_that_yaml_does_not_take_as_json_has_them(tmp_path, make):
    write, record, found = make
    name = "a\x7f\x85\u2028b\ufeff 🐈"
    results = write(tmp_path / "out", record("/x.jpg", "x", found(0, name, 1.0, [0, 0, 1, 1])))
    read = yaml.safe_load(yolo.write(tmp_path, results).read_text("utf-8"))
    assert read["names"] == {0: name}


def test_of_no_photo(tmp_path, empty):
    assert yaml.safe_load(yolo.write(tmp_path, empty).read_text())["names"] == {}
