import sys

import pytest

from fcam_tf.predict.files import Files, PhotoFiles, is_output


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("a_overlay.png", True),
        ("a_overlay_12.png", True),
        ("a_overlay.jpg", True),
        ("a_heatmap_2.npy", True),
        ("a_heatmap.png", True),
        ("a_mask.png", True),
        ("a_soft_3.png", True),
        ("a_crop_2.jpg", True),
        ("a_cutout.png", True),
        ("a_overlay_x.png", False),
        ("a_heatmap.jpg", False),
        ("a_mask.jpg", False),
        ("overlay.png", False),
    ],
)
def test_names_of_outputs(name, ours):
    assert is_output(name) == ours


def test_files_are_numbered_and_later_ones_removed(tmp_path):
    def write(*numbers, kind="crop"):
        files = PhotoFiles(tmp_path, "in/a", Files())
        names = [files.write(kind, number, "jpg", b"x") for number in numbers]
        files.remove_later()
        return names, sorted(path.name for path in (tmp_path / "in").iterdir())

    names, there = write(1, 2, 3)
    assert names == ["in/a_crop.jpg", "in/a_crop_2.jpg", "in/a_crop_3.jpg"]
    assert there == ["a_crop.jpg", "a_crop_2.jpg", "a_crop_3.jpg"]
    assert write(1)[1] == ["a_crop.jpg"]
    # Of another kind nothing is removed: a photo of the user's may be called so.
    (tmp_path / "in" / "a_mask.jpg").touch()
    assert write(1)[1] == ["a_crop.jpg", "a_mask.jpg"]


def test_settings():
    assert Files(mask=("rle", "png", "rle")).mask == ["png", "rle"]
    assert Files(mask=("rle", "png")) == Files(mask=["png", "rle"])
    assert not Files().need_pixels
    assert Files(cutouts=True).need_pixels


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"heatmap": "jpg"}, "`heatmap` must be 'png' or 'npy' or 'none'"),
        ({"overlay": "gif"}, "`overlay` must be 'png'"),
        ({"mask": ["png", "bmp"]}, "`mask` must be 'png' or 'soft' or 'rle'. Received: 'bmp'"),
    ],
)
def test_impossible_settings(wrong, message):
    with pytest.raises(ValueError, match=message):
        Files(**wrong)


def test_run_lengths_need_pycocotools(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    Files(mask=["png"])
    with pytest.raises(ImportError, match=r"pip install 'fcam_tf\[coco\]'"):
        Files(mask=["rle"])
