import dataclasses
import resource
import shutil
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from fcam_tf import cams
from fcam_tf.atomic import locked
from fcam_tf.data import Split, evaluation_dataset
from fcam_tf.models import FCAM
from fcam_tf.models.targets import coarse_maps
from fcam_tf.training import FCAMRecipe, SettingsChangedError, fit_fcam, stored_cams


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


@pytest.mark.parametrize(
    ("damage", "again"), [("flip a bit", 1), ("cut", 12), ("of other photos", 12), ("header", 12)]
)
def test_damaged_maps_are_made_anew(splits, classifier, tmp_path, damage, again):
    cam, path = cams.get("cam", classifier), tmp_path / "cams.npy"
    found = np.array(stored_cams(cam, splits[0], tmp_path, {}, size=64, verbose=0))
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    elif damage == "flip a bit":
        content[-10] ^= 1
    elif damage == "header":
        content[20] ^= 255
    else:
        del content[-140:]  # as if of one photo less
        content = content.replace(b"(12,)", b"(11,)", 1)
    path.write_bytes(content)
    counting = Counting(cam)
    anew = stored_cams(counting, splits[0], tmp_path, {}, size=64, verbose=0)
    assert counting.seen == again
    np.testing.assert_allclose(anew, found, atol=1e-3)


def test_maps_stay_in_their_file(splits, classifier, tmp_path):
    found = stored_cams(cams.get("cam", classifier), splits[0], tmp_path, {}, size=64, verbose=0)
    assert isinstance(found, np.memmap)
    assert Path(found.filename) == tmp_path / "cams.npy"
    assert (found.dtype, found.shape) == (np.float16, (12, 8, 8))


def test_large_maps_are_scaled_down(splits, tmp_path):
    slopes = np.random.default_rng(0).uniform(-1, 1, (12, 2))
    y, x = np.mgrid[:64, :32] / 64
    fine = np.stack([a * y + b * x for a, b in slopes]).astype("float32")
    start = iter(range(0, 12, 4))

    def cam(images, labels):  # noqa: ARG001
        return fine[(first := next(start)) : first + len(images)]

    about = {"size": 64, "stored_size": 16, "batch_size": 4, "verbose": 0}
    found = stored_cams(cam, splits[0], tmp_path, {}, **about)
    assert found.shape == (12, 16, 16)
    np.testing.assert_allclose((found.min((1, 2)), found.max((1, 2))), ([0] * 12, [1] * 12))
    cells = fine.reshape(12, 16, 4, 16, 2).mean((2, 4))
    np.testing.assert_allclose(found, cams.normalize(cells), atol=0.02)
    assert stored_cams(cam, splits[0], tmp_path, {}, **about).shape == (12, 16, 16)


def test_refined_maps_follow_the_photo(splits, tmp_path):
    """A blurred guess of two cells becomes the half of the photo that it lies in."""
    paths = []
    for i in range(2):
        photo = np.full((64, 64, 3), 40, np.uint8)
        photo[:, 24:] = 220  # the object
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(photo).save(paths[-1])
    split = dataclasses.replace(splits[0].subset([0, 1]), paths=tuple(paths))

    def cam(images, labels):  # noqa: ARG001
        return np.tile(np.float32([0.2, 0.4, 0.8, 0.9]), (len(images), 4, 1))

    about = {"size": 64, "stored_size": 64, "verbose": 0}
    found = stored_cams(cam, split, tmp_path / "refined", {}, refine="crf", **about)
    assert found.shape == (2, 64, 64)
    object_, rest = found[:, :, 25:], found[:, :, :23]
    assert object_.min() > 0.7
    assert rest.max() < 0.3
    plain = stored_cams(cam, split, tmp_path / "plain", {}, **about)
    assert plain.shape == (2, 4, 4)


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


def test_maps_of_an_older_version_are_refused(splits, classifier, tmp_path):
    (tmp_path / "cams.json").write_text('{"method": "cam"}')
    (tmp_path / "cams-00000.npz").write_bytes(b"maps")
    with pytest.raises(SettingsChangedError, match=r"format was not set and is now 2.*afresh"):
        stored_cams(cams.get("cam", classifier), splits[0], tmp_path, {}, size=64, verbose=0)


def test_a_disk_that_is_full(splits, classifier, tmp_path):
    cam, before = cams.get("cam", classifier), resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(KeyboardInterrupt):
        stored_cams(Counting(cam, 4), splits[0], tmp_path, {}, size=64, batch_size=4, verbose=0)
    most = (tmp_path / "cams.npy").stat().st_size * 3 // 4
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        with pytest.raises(OSError, match=r"File too large.*cams\.npy"):
            stored_cams(cam, splits[0], tmp_path, {}, size=64, batch_size=4, verbose=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    rest = Counting(cam)
    stored_cams(rest, splits[0], tmp_path, {}, size=64, batch_size=4, verbose=0)
    assert 0 < rest.seen <= 4


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


def test_maps_of_replaced_images_are_made_anew(splits, classifier, tmp_path):
    paths = [shutil.copy(path, tmp_path) for path in splits[0].paths]
    split = dataclasses.replace(splits[0], paths=tuple(map(Path, paths)))
    cam = cams.get("cam", classifier)
    stored_cams(cam, split, tmp_path / "a", {}, size=64, verbose=0)
    shutil.copy(paths[0], paths[6])
    counting = Counting(cam)
    found = stored_cams(counting, split, tmp_path / "a", {}, size=64, verbose=0)
    assert counting.seen == 1
    whole = stored_cams(cam, split, tmp_path / "b", {}, size=64, verbose=0)
    np.testing.assert_allclose(found, whole, atol=1e-3)


_SIDE, _CROP, _CELL = 64, 48, 4


def _ramps(folder, number):
    """Write photos whose red rises to the right and down; green and blue say where a pixel is.

    In every other one it rises faster to the right, in the rest faster down.
    """
    y, x = np.mgrid[:_SIDE, :_SIDE]
    paths = tuple(folder / f"{n}.png" for n in range(number))
    for n, path in enumerate(paths):
        red = 2 * x + y if n % 2 else x + 2 * y
        Image.fromarray(np.stack([red, x, y], -1).astype("uint8")).save(path)
    ids = tuple(path.name for path in paths)
    return Split("train", ids, paths, np.zeros(number, "int64"), ("red", "none"))


def _red():
    """Return a classifier whose map of class 0 is the mean red of each cell."""
    images = keras.Input((None, None, 3))
    x = keras.layers.AveragePooling2D(_CELL)(images)
    red = keras.layers.Conv2D(1, 1, use_bias=False, name="red")
    x = keras.layers.GlobalAveragePooling2D()(red(x))
    model = keras.Model(images, keras.layers.Dense(2, name="logits")(x))
    red.set_weights([np.array([1.0, 0, 0]).reshape(1, 1, 3, 1)])
    model.get_layer("logits").set_weights([np.array([[1.0, -1]]), np.zeros(2)])
    return model


def _map_of_red(u, v, cells):
    """Return the normalised map at a place in [0, 1], between the centres of the outer cells."""
    return (2 * u + v - 1.5 / cells) / (3 - 3 / cells)


@pytest.mark.usefixtures("undrawn")
def test_maps_of_all_scales_reach_the_decoder_where_the_photo_is(tmp_path, monkeypatch):
    """Oracle: the map that teaches, computed from where each pixel of the crop was in its photo."""
    split, seen = _ramps(tmp_path, 4), []
    model = FCAM.from_classifier(_red(), decoder_filters=(2, 2))

    def looked_at(teacher, images, *others):
        maps = coarse_maps(teacher, images, *others)
        seen.append((images.numpy(), maps.numpy()))
        return maps

    monkeypatch.setattr("fcam_tf.models.learning.coarse_maps", looked_at)
    recipe = FCAMRecipe(
        epochs=2,
        batch_size=2,
        resize=_SIDE,
        crop=_CROP,
        cams="stored",
        stored_scales=(1.0, 2.0),
        stored_flip=True,
        loss={"crf": 0.0, "erosion": 1},
    )
    fit_fcam(model, split, None, recipe, tmp_path / "run", verbose=0)
    maps = np.load(tmp_path / "run/cams/cams.npy")["map"]
    finest = 2 * _CROP // _CELL
    assert maps.shape == (4, finest, finest)
    corners, mirrored = set(), 0
    for image, found in zip(*map(np.concatenate, zip(*seen, strict=True)), strict=True):
        u, v = ((image[..., channel] + 0.5) / _SIDE for channel in (1, 2))
        corners.add((u.min(), v.min()))
        mirrored += u[0, 0] > u[0, -1]
        if (image[..., 0] == image[..., 1] + 2 * image[..., 2]).all():
            u, v = v, u
        expected = (_map_of_red(u, v, finest // 2) + _map_of_red(u, v, finest)) / 2
        edge = _CELL / _CROP  # beyond the centres of the outer cells a map is constant
        inside = (np.minimum(u, v) > edge) & (np.maximum(u, v) < 1 - edge)
        error = (found - expected)[inside]
        assert np.abs(error).max() < 0.01
        assert np.abs(error.mean()) < 1e-3  # one pixel further down would be 5e-3
    assert 0 < mirrored < 8
    assert len(corners) > 4
