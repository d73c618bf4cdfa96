from pathlib import Path

import yaml

from fcam_tf.predict.annotations import yolo


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
    for path in links:  # as Ultralytics finds them
        labels = str(path).replace("/images/", "/labels/").rsplit(".", 1)[0] + ".txt"
        assert Path(labels).exists()


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


def test_of_no_photo(tmp_path, empty):
    assert yaml.safe_load(yolo.write(tmp_path, empty).read_text())["names"] == {}
