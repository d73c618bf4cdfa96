import dataclasses
import os
from pathlib import Path

import keras
import pytest

from fcam_tf import models
from fcam_tf.data import load_wsol, write_shapes
from fcam_tf.identity import file_sha256, model_sha256, saved_file, split_sha256, stamps
from tests.models.tiny import tiny_classifier


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return load_wsol(write_shapes(tmp_path_factory.mktemp("data") / "d", {"test": 4}), "test")


def test_a_file_is_its_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert file_sha256(tmp_path / "a") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_the_file_of_a_run_is_its_best_model(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no best\.keras in this folder"):
        saved_file(tmp_path)
    (tmp_path / "best.keras").touch()
    assert saved_file(tmp_path) == tmp_path / "best.keras"
    assert saved_file(str(tmp_path / "best.keras")) == tmp_path / "best.keras"
    with pytest.raises(FileNotFoundError, match="no such file"):
        saved_file(tmp_path / "other.keras")


def test_models_are_told_by_layers_and_weights_and_not_by_names():
    net = tiny_classifier()
    copy = keras.models.clone_model(net)
    copy.set_weights(net.get_weights())
    assert model_sha256(copy) == model_sha256(net)
    values = net.get_weights()
    values[-1] = values[-1] + 1e-3
    copy.set_weights(values)
    assert model_sha256(copy) != model_sha256(net)
    assert model_sha256(copy, weights=False) == model_sha256(net, weights=False)
    assert model_sha256(net, 224) != model_sha256(net, 256)


def test_a_saved_model_has_the_identity_of_its_original(tmp_path):
    net = tiny_classifier()
    net.save(tmp_path / "a.keras")
    assert model_sha256(models.load(tmp_path / "a.keras")) == model_sha256(net)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: {"ids": s.ids[::-1]},
        lambda s: {"labels": s.labels[::-1].copy()},
        lambda s: {"boxes": tuple(boxes + 1 for boxes in s.boxes)},
        lambda s: {"masks": s.masks[::-1]},
        lambda _: {"name": "val"},
    ],
)
def test_a_split_is_its_names_and_truth(split, change):
    assert split_sha256(dataclasses.replace(split)) == split_sha256(split)
    assert split_sha256(dataclasses.replace(split, **change(split))) != split_sha256(split)


def test_replaced_files_are_told_by_size_or_time(split, tmp_path):
    paths = tuple(tmp_path / path.name for path in split.paths)
    for old, new in zip(split.paths, paths, strict=True):
        new.write_bytes(old.read_bytes())
        os.utime(new, ns=(1, 1))
    split = dataclasses.replace(split, paths=paths)
    marks, whole = stamps(split), split_sha256(split, sizes=True)
    os.utime(paths[0], ns=(2, 2))
    assert (stamps(split) == marks).tolist() == [False, True, True, True]
    assert split_sha256(split, sizes=True) == whole  # a copied data set is the same
    paths[1].write_bytes(paths[1].read_bytes() + b"x")
    os.utime(paths[1], ns=(1, 1))
    assert (stamps(split) == marks).tolist() == [False, False, True, True]
    assert split_sha256(split, sizes=True) != whole
    paths[2].unlink()  # of stored maps nobody needs the image
    assert (stamps(split) == marks).tolist() == [False, False, False, True]


def test_masks_and_other_files_count_too(split, tmp_path):
    more = [tmp_path / "map.npy"] * len(split)
    before = stamps(split, more)
    assert (before != stamps(split)).all()
    more[0].touch()
    assert (before != stamps(split, more)).all()
    moved = dataclasses.replace(split, masks=((Path("x"),), *split.masks[1:]))
    assert (stamps(moved) == stamps(split)).tolist() == [False, True, True, True]
