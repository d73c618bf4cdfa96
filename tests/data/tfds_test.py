import sys
import types

import numpy as np
import pytest

from fcam_tf.data import check_dataset, load_wsol, write_tfds

tfds = pytest.importorskip("tensorflow_datasets")

WIDTH, HEIGHT = 40, 30
X0, Y0, X1, Y1 = 5, 6, 24, 20  # the object, inclusive


def bird(index):
    mask = np.zeros((HEIGHT, WIDTH, 1), np.uint8)
    mask[Y0 : Y1 + 1, X0 : X1 + 1] = 204
    mask[0, 0] = 51  # one annotator of five
    box = tfds.features.BBox(
        ymin=Y0 / HEIGHT, xmin=X0 / WIDTH, ymax=(Y1 + 1) / HEIGHT, xmax=(X1 + 1) / WIDTH
    )
    return {
        "image": np.full((HEIGHT, WIDTH, 3), index, np.uint8),
        "image/filename": f"Bird_{index}.jpg",
        "label": index,
        "label_name": f"{index:03d}.Bird",
        "bbox": box,
        "segmentation_mask": mask,
    }


def pet(index):
    trimap = np.full((HEIGHT, WIDTH, 1), 2, np.uint8)
    trimap[Y0 : Y1 + 1, X0 : X1 + 1] = 3
    trimap[Y0 + 2 : Y1 - 1, X0 + 2 : X1 - 1] = 1
    return {
        "image": np.full((HEIGHT, WIDTH, 3), index, np.uint8),
        "file_name": f"pet_{index}.jpg",
        "label": index,
        "species": 0,
        "segmentation_mask": trimap,
        "head_bbox": tfds.features.BBox(0.0, 0.0, 0.5, 0.5),
    }


def prepare(name, make, data_dir):
    """Lets the real builder write its files, from our examples instead of a download."""
    builder = tfds.builder(name, data_dir=data_dir)
    builder._split_generators = lambda *_, **__: {
        "train": [(i, make(i)) for i in range(3)],
        "test": [(i, make(i)) for i in (3, 4)],
    }
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False)
    )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds.core.utils.gcs_utils, "_is_gcs_disabled", True)
        prepare("caltech_birds2011", bird, folder)
        prepare("oxford_iiit_pet", pet, folder)
    return folder


def test_birds(data_dir, tmp_path):
    root = write_tfds("tfds:caltech_birds2011", tmp_path / "birds", data_dir=data_dir)
    split = load_wsol(root, "test")
    assert sorted(split.ids) == ["003/Bird_3.jpg", "004/Bird_4.jpg"]
    assert split.class_names[4] == "004.Bird"
    # As in the benchmark's metadata, x1 = x + width.
    assert split.boxes[0].tolist() == [[X0, Y0, X1 + 1, Y1 + 1]]
    (mask,), ignore = split.read_masks(0)
    assert (mask > 0).sum() == (X1 - X0 + 1) * (Y1 - Y0 + 1)
    assert ignore is None
    problems = {str(problem).split(": ")[1] for problem in check_dataset(root).problems}
    assert problems == {"classes without images"}  # 5 of 200 are there


def test_pets(data_dir, tmp_path):
    root = write_tfds("oxford_iiit_pet", tmp_path / "pets", data_dir=data_dir, splits=["train"])
    split = load_wsol(root, "train")
    assert len(split) == 3
    assert len(split.class_names) == 37
    assert all(boxes.tolist() == [[X0, Y0, X1, Y1]] for boxes in split.boxes)
    (mask,), ignore = split.read_masks(0)
    assert not ((mask > 0) & (ignore > 0)).any()
    rows, columns = np.nonzero(ignore)
    assert [columns.min(), rows.min(), columns.max(), rows.max()] == [X0, Y0, X1, Y1]
    assert [p.name for p in (root / "metadata").iterdir()] == ["train"]


def test_tensorflow_datasets_without_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", types.ModuleType("broken"))
    with pytest.raises(ImportError, match=r"pip install 'tensorflow-metadata<1\.17'"):
        write_tfds("oxford_iiit_pet", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments_are_refused(data_dir, tmp_path):
    with pytest.raises(ValueError, match="`name` is unknown"):
        write_tfds("mnist", tmp_path / "x")
    with pytest.raises(ValueError, match=r"Received: validation\. Available: train, test\."):
        write_tfds("oxford_iiit_pet", tmp_path / "x", data_dir=data_dir, splits=["validation"])
    with pytest.raises(ValueError, match="download=True"):
        write_tfds("oxford_iiit_pet", tmp_path / "x", data_dir=tmp_path / "nothing")
    with pytest.raises(FileExistsError):
        write_tfds("oxford_iiit_pet", tmp_path)
    assert list(tmp_path.iterdir()) == []
