import dataclasses
import errno
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from fcam_tf import cams
from fcam_tf.atomic import locked
from fcam_tf.data import evaluation_dataset
from fcam_tf.training import SettingsChangedError, stored_cams


@pytest.fixture
def shards_of_five(monkeypatch):
    monkeypatch.setattr(sys.modules[stored_cams.__module__], "_SHARD", 5)


class Counting:
    """A CAM method that counts the images it saw, and stops after some."""

    def __init__(self, cam, stop=None):
        self.cam, self.seen, self.stop = cam, 0, stop

    def __call__(self, images, labels):
        if self.seen == self.stop:
            raise KeyboardInterrupt
        self.seen += len(images)
        return self.cam(images, labels)


def test_maps_are_those_of_the_method(splits, classifier, tmp_path):
    cam = cams.get("gradcam", classifier)
    found = stored_cams(cam, splits[0], tmp_path, {}, size=64, batch_size=5, verbose=0)
    assert found.dtype == np.float16
    images, labels = next(iter(evaluation_dataset(splits[0], batch_size=12, size=64)))
    np.testing.assert_allclose(found, cam(images, labels), atol=1e-3)


@pytest.mark.usefixtures("shards_of_five")
def test_only_what_is_missing_is_computed(splits, classifier, tmp_path):
    cam = cams.get("cam", classifier)
    interrupted = Counting(cam, stop=10)
    with pytest.raises(KeyboardInterrupt):
        stored_cams(interrupted, splits[0], tmp_path, {}, size=64, batch_size=5, verbose=0)
    rest = Counting(cam)
    found = stored_cams(rest, splits[0], tmp_path, {}, size=64, batch_size=5, verbose=0)
    assert (interrupted.seen, rest.seen) == (10, 2)
    nothing = Counting(cam)
    again = stored_cams(nothing, splits[0], tmp_path, {}, size=64, verbose=0)
    assert nothing.seen == 0
    np.testing.assert_array_equal(found, again)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.usefixtures("shards_of_five")
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damaged_shards_are_made_anew(splits, classifier, tmp_path, damage):
    cam = cams.get("cam", classifier)
    found = stored_cams(cam, splits[0], tmp_path, {}, size=64, verbose=0)
    path = sorted(tmp_path.glob("*.npz"))[1]
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 255
    path.write_bytes(content)
    counting = Counting(cam)
    again = stored_cams(counting, splits[0], tmp_path, {}, size=64, verbose=0)
    assert counting.seen == 5
    np.testing.assert_allclose(again, found, atol=1e-3)


def test_maps_of_something_else_are_refused(splits, classifier, tmp_path):
    cam = cams.get("cam", classifier)
    about = {"classifier": "abc", "method": "cam"}
    stored_cams(cam, splits[0], tmp_path, about, size=64, verbose=0)
    with pytest.raises(SettingsChangedError, match="classifier"):
        stored_cams(cam, splits[0], tmp_path, {**about, "classifier": "d"}, size=64, verbose=0)
    with pytest.raises(SettingsChangedError, match="images"):
        stored_cams(cam, splits[1], tmp_path, about, size=64, verbose=0)
    other = dataclasses.replace(splits[0], labels=splits[0].labels - 1)
    with pytest.raises(SettingsChangedError, match="labels"):
        stored_cams(cam, other, tmp_path, about, size=64, verbose=0)


def test_a_folder_that_cannot_be_written(splits, classifier, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        stored_cams(cams.get("cam", classifier), splits[0], tmp_path, {}, size=64, verbose=0)
    assert [path.name for path in tmp_path.iterdir()] == ["cams.json"]


def test_runs_that_share_a_folder_wait_for_each_other(splits, classifier, tmp_path):
    cam, found = Counting(cams.get("cam", classifier)), []
    arguments = (cam, splits[0], tmp_path, {})
    other = threading.Thread(
        target=lambda: found.append(stored_cams(*arguments, size=64, verbose=0))
    )
    with locked(tmp_path):  # as the other run would
        other.start()
        other.join(0.3)
        assert other.is_alive()
        assert cam.seen == 0
    other.join(60)
    assert len(found[0]) == len(splits[0])


@pytest.mark.usefixtures("shards_of_five")
def test_maps_of_replaced_images_are_made_anew(splits, classifier, tmp_path):
    paths = [shutil.copy(path, tmp_path) for path in splits[0].paths]
    split = dataclasses.replace(splits[0], paths=tuple(map(Path, paths)))
    cam = cams.get("cam", classifier)
    stored_cams(cam, split, tmp_path / "a", {}, size=64, verbose=0)
    shutil.copy(paths[0], paths[6])  # of the second shard
    counting = Counting(cam)
    found = stored_cams(counting, split, tmp_path / "a", {}, size=64, verbose=0)
    assert counting.seen == 5
    whole = stored_cams(cam, split, tmp_path / "b", {}, size=64, verbose=0)
    np.testing.assert_allclose(found, whole, atol=1e-3)
