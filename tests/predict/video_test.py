import sys

import numpy as np
import pytest
from PIL import Image

from fcam_tf.predict import video
from fcam_tf.predict.brought import bring_in

av = pytest.importorskip("av")


@pytest.fixture
def clip(tmp_path):
    """Two seconds at 10 pictures a second, each brighter than the last, of an odd width."""
    pictures = []
    for k in range(20):
        pictures.append(tmp_path / f"{k:02d}.png")
        Image.fromarray(np.full((48, 65, 3), 12 * k, np.uint8)).save(pictures[-1])
    video.write_video(tmp_path / "clip.mp4", pictures, 10)
    return tmp_path / "clip.mp4"


def frames(folder):
    return {path.name: path for path in sorted(folder.glob("*.jpg"))}


@pytest.mark.parametrize(("fps", "times"), [(2, [0, 0.5, 1, 1.5]), (0.5, [0]), (1, [0, 1])])
def test_frames_at_a_rate(clip, tmp_path, fps, times):
    folder = tmp_path / "frames"
    folder.mkdir()
    assert video.extract(clip, folder, fps) == (len(times), "")
    names = [f"{k:06d}_{time:.3f}s.jpg" for k, time in enumerate(times, 1)]
    assert list(frames(folder)) == names
    for time, path in zip(times, frames(folder).values(), strict=True):
        with Image.open(path) as image:
            assert image.size == (64, 48)
            assert np.asarray(image).mean() == pytest.approx(120 * time, abs=4)


def test_a_higher_rate_than_the_video_has_gives_each_frame_once(clip, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    assert video.extract(clip, folder, 1000) == (20, "")


@pytest.mark.parametrize("fps", [0, -1, 1001, float("nan")])
def test_impossible_rates(clip, tmp_path, fps):
    with pytest.raises(ValueError, match="`fps` must be"):
        video.extract(clip, tmp_path, fps)


def test_a_video_that_is_none(tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video" * 100)
    (failure,) = bring_in([tmp_path / "bad.mp4"], tmp_path / "inputs").failures
    assert failure.reason.startswith("the video cannot be read: ")
    assert not (tmp_path / "inputs" / "bad.mp4").exists()


def test_another_rate_takes_other_frames(clip, tmp_path):
    told = []
    for fps in (2, 2, 5):
        bring_in([clip], tmp_path / "inputs", fps=fps, tell=told.append)
    assert told == ["clip.mp4: 4 frames", "clip.mp4: 10 frames"]


def test_without_pyav_the_extra_is_named(clip, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (failure,) = bring_in([clip], tmp_path / "inputs").failures
    assert failure.reason == "videos need PyAV: pip install 'fcam_tf[video]'"
