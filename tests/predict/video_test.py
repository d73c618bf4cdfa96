import re
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


def noise(number):
    """Yield frames that hardly compress: each has its share of the file."""
    draw = np.random.default_rng(0)
    for _ in range(number):
        pixels = draw.integers(0, 256, (64, 64, 3), np.uint8)
        yield av.VideoFrame.from_ndarray(pixels, format="rgb24")


@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize(("name", "options"), [("a.mp4", {"movflags": "faststart"}), ("a.mkv", {})])
def test_a_video_that_is_cut_is_told_each_time(tmp_path, name, options, sound):
    with av.open(tmp_path / name, "w", options=options) as container:
        stream = container.add_stream("libx264", rate=10, width=64, height=64, pix_fmt="yuv420p")
        audio = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for frame in noise(40):
            container.mux(stream.encode(frame))
        if audio is not None:  # which lasts longer than the pictures
            for k in range(6):
                quiet = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
                quiet.rate, quiet.pts = 8000, 8000 * k
                container.mux(audio.encode(quiet))
            container.mux(audio.encode())
        container.mux(stream.encode())
    assert bring_in([tmp_path / name], tmp_path / "whole", fps=1000).failures == []

    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    for _ in range(2):
        (failure,) = bring_in([tmp_path / name], tmp_path / "inputs", fps=1000).failures
        assert failure.file == str(tmp_path / name)
        # Some versions of FFmpeg raise an error of their own at a packet that is cut.
        reason = r"the video is damaged: (it ends after .* of .* s|Invalid data found .*)"
        assert re.fullmatch(reason, failure.reason)
    assert 10 <= len(frames(tmp_path / "inputs" / name)) < 40


def encoded(path, codec="mpeg2video", rate=25, start=0, kind=None):
    """Write 25 frames that change."""
    with av.open(path, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate, width=64, height=64, pix_fmt="yuv420p")
        for k in range(25):
            pixels = np.full((64, 64, 3), 10 * k, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = start * rate + k
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def extracted(path, fps=5):
    folder = path.with_suffix(".frames")
    folder.mkdir()
    return video.extract(path, folder, fps), list(frames(folder))


def test_frames_without_a_time_are_taken_by_the_rate(tmp_path):
    path = encoded(tmp_path / "a.mp4", "libx264", kind="h264")  # as some cameras call it
    found, names = extracted(path)
    assert found == (5, "")
    assert names[-1] == "000005_0.800s.jpg"


def test_videos_joined_into_one_file_are_all_taken(tmp_path):
    data = encoded(tmp_path / "a.mpg", kind="mpegts").read_bytes()
    single = extracted(tmp_path / "a.mpg")[0][0]
    (tmp_path / "b.mpg").write_bytes(data * 3)
    assert extracted(tmp_path / "b.mpg")[0] == (3 * single, "")


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_a_video_that_begins_late_is_whole(tmp_path, name):
    assert extracted(encoded(tmp_path / name, "libx264", start=100))[0] == (5, "")


def test_the_cover_of_a_record_is_no_video(tmp_path):
    with av.open(tmp_path / "a.mp4", "w") as container:
        sound = container.add_stream("aac", rate=8000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1, width=64, height=64, pix_fmt="yuvj420p")
        cover.disposition = av.stream.Disposition.attached_pic.value
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        quiet = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        quiet.rate, picture.pts = 8000, 0
        for stream, frame in ((cover, picture), (sound, quiet)):
            container.mux([*stream.encode(frame), *stream.encode()])
    with pytest.raises(ValueError, match="there is no video in this file"):
        extracted(tmp_path / "a.mp4")


def test_damaged_frames_are_told(tmp_path):
    with av.open(tmp_path / "a.avi", "w") as container:
        stream = container.add_stream("mpeg4", rate=10, width=64, height=64, pix_fmt="yuv420p")
        for frame in noise(20):
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = bytearray((tmp_path / "a.avi").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 1000] = bytes(1000)
    (tmp_path / "a.avi").write_bytes(data)
    (failure,) = bring_in([tmp_path / "a.avi"], tmp_path / "inputs").failures
    assert failure.reason == "the video is damaged: some of its frames are damaged"


def test_another_rate_takes_other_frames(clip, tmp_path):
    told = []
    for fps in (2, 2, 5):
        bring_in([clip], tmp_path / "inputs", fps=fps, tell=told.append)
    assert told == ["clip.mp4: 4 frames", "clip.mp4: 10 frames"]


def test_without_pyav_the_extra_is_named(clip, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (failure,) = bring_in([clip], tmp_path / "inputs").failures
    assert failure.reason == "videos need PyAV: pip install 'fcam_tf[video]'"
