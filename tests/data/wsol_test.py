import numpy as np
import pytest

from fcam_tf.data import DataError, load_wsol, reduced


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)


@pytest.fixture
def birds(tmp_path):
    """The benchmark's own layout: several boxes, a comma in a name, no final newline."""
    write(
        tmp_path / "metadata" / "test",
        image_ids="a/1.jpg\nb/two, or 2.jpg",
        class_labels="b/two, or 2.jpg,3\na/1.jpg,0",
        image_sizes="a/1.jpg,40,30\nb/two, or 2.jpg,20,10",
        localization="a/1.jpg,1,2,3,4\na/1.jpg,5,6,7,8\nb/two, or 2.jpg,0,0,19,9",
    )
    return tmp_path


def test_boxes_sizes_and_labels_by_id(birds):
    split = load_wsol(birds, "test", images=birds / "CUB")
    assert split.ids == ("a/1.jpg", "b/two, or 2.jpg")
    assert split.paths[0] == birds / "CUB" / "a" / "1.jpg"
    assert split.labels.tolist() == [0, 3]
    assert split.class_names == ("0", "1", "2", "3")
    assert split.size(1) == (20, 10)
    assert [boxes.tolist() for boxes in split.boxes] == [
        [[1, 2, 3, 4], [5, 6, 7, 8]],
        [[0, 0, 19, 9]],
    ]
    assert split.masks is None


def test_openimages_masks_in_localization(tmp_path):
    write(
        tmp_path / "metadata" / "val",
        image_ids="val/m/1.jpg\nval/m/2.jpg\n",
        class_labels="val/m/1.jpg,0\nval/m/2.jpg,0\n",
        image_sizes="",
        localization="val/m/1.jpg,m/1_a.png,m/1_ignore.png\nval/m/1.jpg,m/1_b.png,\n"
        "val/m/2.jpg,m/2.png,m/2_ignore.png\n",
    )
    split = load_wsol(tmp_path, "val", masks=tmp_path / "OpenImages")
    assert split.boxes is None
    assert split.sizes is None
    root = tmp_path / "OpenImages" / "m"
    assert split.masks == ((root / "1_a.png", root / "1_b.png"), (root / "2.png",))
    assert split.ignores == (root / "1_ignore.png", root / "2_ignore.png")


def test_train_without_truth(tmp_path):
    write(tmp_path / "metadata" / "train", image_ids="x.jpg", class_labels="x.jpg,1")
    split = load_wsol(tmp_path, "train")
    assert (split.boxes, split.masks, split.sizes) == (None, None, None)
    assert split.ignores == (None,)
    with pytest.raises(ValueError, match="'train' has no masks"):
        split.read_masks(0)


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("class_labels", "a/1.jpg,0\nb/two, or 2.jpg,x", "class_labels.txt:2: need non-negative"),
        ("class_labels", "a/1.jpg,0", "image_ids.txt:2: 'b/two, or 2.jpg' has 0 lines in class"),
        ("class_labels", "a/1.jpg,0\na/1.jpg,0\nb/two, or 2.jpg,1", "has 2 lines in class_labels"),
        ("image_ids", "a/1.jpg\na/1.jpg\nb/two, or 2.jpg", "image_ids.txt:2: duplicate id"),
        ("image_ids", "", "image_ids.txt: names no image"),
        ("localization", "a/1.jpg,1,2,3", "localization.txt:1: need 5 comma-separated fields"),
        ("class_labels", f"a/1.jpg,{10**12}", "need non-negative integers of up to 6 digits"),
        ("localization", f"a/1.jpg,1,2,3,{10**20}", "integers of up to 6 digits, got '1,2,3,1000"),
        ("localization", "a/1.jpg,1,2,3,-4", "localization.txt:1: need non-negative integers"),
        ("localization", "\nc.jpg,1,2,3,4", "localization.txt:2: id 'c.jpg' is not in image_ids"),
        ("image_sizes", "a/1.jpg,4,4", "image_ids.txt:2: 'b/two, or 2.jpg' has 0 lines in image_s"),
    ],
)
def test_errors_carry_file_and_line(birds, file, text, says):
    write(birds / "metadata" / "test", **{file: text})
    with pytest.raises(DataError) as caught:
        load_wsol(birds, "test")
    assert says in str(caught.value)
    assert caught.value.problems


def test_other_programs_ways_of_writing(birds):
    folder = birds / "metadata" / "test"
    (folder / "image_ids.txt").write_bytes("\ufeffa/1.jpg  \r\nb/two, or 2.jpg\r\n\r\n".encode())
    write(folder, localization="a/1.jpg,1.0,2,3.,4.00\nb/two, or 2.jpg, 0, 0, 19, 9")
    split = load_wsol(birds, "test")
    assert split.ids == ("a/1.jpg", "b/two, or 2.jpg")
    assert [boxes.tolist() for boxes in split.boxes] == [[[1, 2, 3, 4]], [[0, 0, 19, 9]]]


def test_masks_without_a_column_of_ignore_files(birds):
    write(
        birds / "metadata" / "test",
        localization="a/1.jpg,m/1.png\nb/two, or 2.jpg,m/2.png\nb/two, or 2.jpg,m/3.png,m/i.png",
    )
    split = load_wsol(birds, "test", masks=birds)
    first, second, third, ignore = (birds / "m" / f"{name}.png" for name in "123i")
    assert split.boxes is None
    assert split.masks == ((first,), (second, third))
    assert split.ignores == (None, ignore)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("image_ids", "a/1.jpg\nb/caf\xe9.jpg", r"image_ids.txt:2: is not UTF-8: b'b/caf\xe9.jpg'"),
        ("localization", "a/1.jpg,1,2,3.5,4", "localization.txt:1: need non-negative integers"),
        ("localization", "a/1.jpg,m.png\nz.jpg,m.png", "localization.txt:2: need id,mask,ignore"),
    ],
)
def test_what_cannot_be_read_is_named(birds, file, content, says):
    (birds / "metadata" / "test" / f"{file}.txt").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError) as caught:
        load_wsol(birds, "test")
    assert says in str(caught.value)


def test_too_few_class_names_and_missing_labels(birds):
    write(birds, class_names="one\ntwo")
    with pytest.raises(DataError, match="names 2 classes, but label 3"):
        load_wsol(birds, "test")
    (birds / "metadata" / "test" / "class_labels.txt").unlink()
    with pytest.raises(DataError, match=r"class_labels.txt: does not exist"):
        load_wsol(birds, "test")


def test_unknown_split_names_the_known_ones(birds):
    with pytest.raises(FileNotFoundError, match="splits found: test"):
        load_wsol(birds, "train")
    with pytest.raises(FileNotFoundError, match="benchmark's layout"):
        load_wsol(birds / "nowhere", "train")


def test_real_data(real_data):
    pets = load_wsol(real_data / "pets3", "test")
    assert (len(pets), len(pets.class_names)) == (149, 3)
    assert pets.boxes[0].tolist() == [[30, 15, 214, 299]]
    masks, ignore = pets.read_masks(0)
    assert masks[0].shape == ignore.shape == pets.size(0)[::-1]
    rows, columns = np.nonzero((masks[0] > 0) | (ignore > 0))
    assert [columns.min(), rows.min(), columns.max(), rows.max()] == pets.boxes[0][0].tolist()
    assert len(load_wsol(real_data / "tiny10", "train")) == 4000


def test_the_reduced_list(birds):
    split, file = load_wsol(birds, "test"), birds / "metadata" / "test" / "image_ids_proxy.txt"
    with pytest.raises(FileNotFoundError, match=r"`proxy` needs .*_proxy\.txt, which does not"):
        reduced(birds, split)
    file.write_text("b/two, or 2.jpg")
    assert reduced(birds, split).ids == ("b/two, or 2.jpg",)
    assert reduced(birds, split).labels.tolist() == [3]
    file.write_text("b/two, or 2.jpg\na/1.jpg\nb/two, or 2.jpg\n")
    assert reduced(birds, split).ids == split.ids
    file.write_text("a/1.jpg\na/3.jpg\n")
    with pytest.raises(DataError, match=r"proxy\.txt:2: id 'a/3\.jpg' is not in"):
        reduced(birds, split)
    file.write_text("")
    with pytest.raises(DataError, match="names no image"):
        reduced(birds, split)
