import errno
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcam_tf.photos import Photo, PhotoError
from fcam_tf.predict import SettingsChangedError, localize_files, read_results, stream, video
from fcam_tf.predict.inputs import Failure, Source

FIRE, SEA = (200, 40, 0), (0, 40, 200)


def paint(path, colour=FIRE, size=(40, 30), spot=(10, 6, 29, 17), **options):
    """A black photo with one bright box; ``spot`` is inclusive."""
    image = Image.new("RGB", size)
    image.paste(colour, (spot[0], spot[1], spot[2] + 1, spot[3] + 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def lines(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text("utf-8").splitlines()]


def files_in(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_a_photo_and_its_outputs(tmp_path, out, fake_localizer):
    # 16 divides 480 and 320: the spot ends on the model's pixels, and Otsu finds just it.
    photo = paint(tmp_path / "a.png", size=(480, 320), spot=(90, 60, 299, 219))
    summary = localize_files(fake_localizer(), photo, out)
    assert (summary.localized, summary.skipped, summary.failures) == (1, 0, [])
    (record,) = lines(out)
    score, threshold = record.pop("score"), record.pop("threshold")
    assert 0.5 < score < 1
    assert 0 < threshold < 1
    (found,) = record.pop("objects")
    assert (found.pop("score"), found.pop("threshold")) == (score, threshold)
    assert threshold < found["heat"] < 200 / 255  # its edge is blurred
    assert found == {
        "label": 1,
        "label_name": "fire",
        "box": [90, 60, 299, 219],
        "area": pytest.approx(210 * 160 / (480 * 320), abs=1e-6),
        "heat": record["heat"],
        "overlay": "a_overlay.png",
        "heatmap": "a_heatmap.png",
    }
    assert record == found | {
        "file": str(photo),
        "name": "a",
        "width": 480,
        "height": 320,
        "bytes": photo.stat().st_size,
        "modified": photo.stat().st_mtime,
    }
    assert files_in(out) == ["a_heatmap.png", "a_overlay.png", "results.jsonl", "settings.json"]
    with Image.open(out / "a_heatmap.png") as heatmap:
        assert heatmap.size == (480, 320)
        values = np.asarray(heatmap)
    assert values.dtype == np.uint16
    assert values[140, 190] == round(200 / 255 * 65535)
    assert values[300, 460] == 0
    with Image.open(out / "a_overlay.png") as overlay:
        assert overlay.size == (640, 427)


def test_npy_and_label(tmp_path, out, fake_localizer):
    photo = paint(tmp_path / "a.png")
    localize_files(fake_localizer(), [photo], out, label="ocean", heatmap="npy")
    (record,) = lines(out)
    assert (record["label"], record["label_name"]) == (0, "sea, ocean")
    values = np.load(out / record["heatmap"])
    assert values.shape == (30, 40)
    assert values.dtype == np.float32
    assert values.max() == pytest.approx(200 / 255, abs=1e-6)


@pytest.mark.parametrize(
    ("wanted", "labels"),
    [({"label": ["sea", 1, "ocean"]}, [0, 1]), ({"top": 5}, [1, 0]), ({"top": 1}, [1])],
)
def test_several_classes(tmp_path, out, fake_localizer, wanted, labels):
    photo = paint(tmp_path / "a.png")
    localize_files(fake_localizer(), [photo], out, heatmap="none", **wanted)
    (record,) = lines(out)
    assert [each["label"] for each in record["objects"]] == labels
    assert record["label"] == labels[0]
    ends = ["", "_2"][: len(labels)]
    assert [each["overlay"] for each in record["objects"]] == [f"a_overlay{e}.png" for e in ends]
    again = localize_files(fake_localizer(), [photo], out, heatmap="none", **wanted)
    assert (again.localized, again.skipped) == (0, 1)


def test_objects_are_cut_from_the_photo_at_its_own_size(tmp_path, out, fake_localizer):
    # Larger than what is drawn on. A spot of 1000 x 600, 1000 pixels to the left of another.
    photo = paint(tmp_path / "a.png", size=(3200, 1600), spot=(200, 100, 1199, 699))
    with Image.open(photo) as image:
        image.paste(FIRE, (2200, 800, 2600, 1400))
        image.save(photo)
    wanted = {"objects": None, "crops": True, "cutouts": True, "mask": ["png"], "overlay": "none"}
    localize_files(fake_localizer(), photo, out, heatmap="none", **wanted)
    (record,) = lines(out)
    assert len(record["objects"]) == 2
    for found in record["objects"]:
        x0, y0, x1, y1 = found["box"]
        for kind in ("crop", "cutout"):
            with Image.open(out / found[kind]) as image:
                assert image.size == (x1 - x0 + 1, y1 - y0 + 1)
        with Image.open(out / found["mask"]) as mask:
            assert mask.size == (3200, 1600)
    assert files_in(out) == [
        *("a_crop.jpg", "a_crop_2.jpg", "a_cutout.png", "a_cutout_2.png", "a_mask.png"),
        *("a_mask_2.png", "results.jsonl", "settings.json"),
    ]
    # One that was lost is made again, and so are all of its photo.
    (out / "a_cutout_2.png").unlink()
    assert localize_files(fake_localizer(), photo, out, heatmap="none", **wanted).localized == 1
    assert (out / "a_cutout_2.png").exists()
    with pytest.raises(SettingsChangedError, match=r"files\.crops was True and is now False"):
        localize_files(fake_localizer(), photo, out, heatmap="none", **wanted | {"crops": False})


def test_no_heatmap_no_class_names_nothing_found(tmp_path, out, fake_localizer):
    photo = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(photo)
    localize_files(fake_localizer(class_names=None), photo, out, heatmap="none")
    (record,) = lines(out)
    assert (record["label_name"], record["box"], record["heatmap"]) == (None, None, None)
    assert files_in(out) == ["a_overlay.png", "results.jsonl", "settings.json"]


def test_box_is_in_the_frame_as_displayed(tmp_path, out, fake_localizer):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    photo = paint(tmp_path / "a.png", size=(320, 480), spot=(0, 0, 159, 119), exif=exif)
    localize_files(fake_localizer(), photo, out)
    (record,) = lines(out)
    assert (record["width"], record["height"]) == (480, 320)
    assert record["box"] == [360, 0, 479, 159]


def test_a_model_of_another_shape(tmp_path, out, fake_localizer):
    photo = paint(tmp_path / "a.png", size=(480, 320), spot=(90, 60, 299, 219))
    localize_files(fake_localizer(image_size=(16, 48)), photo, out)
    (record,) = lines(out)
    assert record["box"] == [90, 60, 299, 219]


def test_bad_photos_do_not_stop_the_others(tmp_path, out, fake_localizer, capsys):
    names = ["good0.png", "empty.jpg", "text.png", "torn.png", "good1.png", "good2.png"]
    for name in names:
        paint(tmp_path / name, format="PNG")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.png").write_text("no photo")
    torn = tmp_path / "torn.png"
    torn.write_bytes(torn.read_bytes()[:70])
    localizer = fake_localizer()
    photos = [tmp_path / "none.jpg", *(tmp_path / name for name in names)]
    summary = localize_files(localizer, photos, out, batch_size=2)
    assert summary.localized == 3
    assert localizer.batches == [2, 1]  # filled up past the bad ones
    assert [Path(failure.file).name for failure in summary.failures] == [
        *("none.jpg", "empty.jpg", "text.png", "torn.png")
    ]
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 4
    assert all(line.startswith(f"fcam: {tmp_path}") for line in told)
    assert {Path(record["file"]).name for record in lines(out)} == {
        *("good0.png", "good1.png", "good2.png")
    }


def test_names_of_files_are_told_as_they_are(tmp_path, out, fake_localizer, capsys):
    paint(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "[b]:smile:.txt").touch()
    localize_files(fake_localizer(), tmp_path / "in", out)
    assert "[b]:smile:.txt" in capsys.readouterr().err


def test_same_names_in_different_folders(tmp_path, out, fake_localizer):
    photos = [paint(tmp_path / d / n) for d in "ab" for n in ("x.png", "X.jpg")]
    localize_files(fake_localizer(), photos, out)
    names = [record["name"] for record in lines(out)]
    assert names == ["x", "X-2", "x-3", "X-4"]
    more = paint(tmp_path / "c" / "x.png")
    localize_files(fake_localizer(), more, out)
    assert lines(out)[-1]["overlay"] == "x-5_overlay.png"


def test_folders_keep_their_places(tmp_path, out, fake_localizer):
    for name in ("p/q/x.png", "p/x.png"):
        paint(tmp_path / name)
    localize_files(fake_localizer(), tmp_path / "p", out, heatmap="none")
    assert files_in(out) == ["q/x_overlay.png", "results.jsonl", "settings.json", "x_overlay.png"]


def test_a_second_job_does_only_what_is_new_changed_or_lost(tmp_path, out, fake_localizer):
    photos = [paint(tmp_path / f"{name}.png") for name in "abcd"]
    localize_files(fake_localizer(), photos[:3], out)
    again = fake_localizer()
    summary = localize_files(again, photos[:3], out)
    assert (summary.localized, summary.skipped, again.batches) == (0, 3, [])

    paint(photos[0], SEA)
    os.utime(photos[0], (1, 1))  # changed, though it looks older
    (out / "b_overlay.png").unlink()
    summary = localize_files(again, photos, out)
    assert (summary.localized, summary.skipped) == (3, 1)
    records = {Path(record["file"]).name: record for record in lines(out)}
    assert len(records) == len(lines(out)) == 4
    assert records["a.png"]["label_name"] == "sea, ocean"
    assert (out / "b_overlay.png").exists()


def test_overwrite_makes_only_the_given_photos_again(tmp_path, out, fake_localizer):
    photos = [paint(tmp_path / f"{name}.png") for name in "ab"]
    localize_files(fake_localizer(), photos, out)
    summary = localize_files(fake_localizer(), photos[:1], out, overwrite=True)
    assert (summary.localized, summary.skipped) == (1, 0)
    assert [Path(record["file"]).name for record in lines(out)] == ["b.png", "a.png"]
    assert {record["overlay"] for record in lines(out)} == {"a_overlay.png", "b_overlay.png"}


def test_changed_settings_are_refused_unless_overwritten(tmp_path, out, fake_localizer):
    photos = [paint(tmp_path / f"{name}.png") for name in "ab"]
    localize_files(fake_localizer(), photos, out)
    before = lines(out)
    with pytest.raises(SettingsChangedError, match="label was \\[\\] and is now \\['fire'\\]"):
        localize_files(fake_localizer(), photos, out, label="fire")
    with pytest.raises(ValueError, match="is not a class of this model"):
        localize_files(fake_localizer(), photos, out, label="fir", overwrite=True)
    assert lines(out) == before
    localize_files(fake_localizer(), photos[:1], out, label="fire", overwrite=True)
    assert len(lines(out)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"top": 0},
        {"top": 1, "label": 0},
        {"objects": 0},
        {"overlay": "gif"},
        {"batch_size": 0},
        {"heatmap": "jpg"},
        {"label": 2},
        {"label": "water"},
    ],
)
def test_impossible_options(tmp_path, out, fake_localizer, wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}`"):
        localize_files(fake_localizer(), paint(tmp_path / "a.png"), out, **wrong)
    assert not out.exists()


def test_a_full_disk_ends_the_job_and_keeps_what_is_finished(
    tmp_path, out, fake_localizer, monkeypatch
):
    photos = [paint(tmp_path / f"{i}.png") for i in range(9)]
    room = [8]

    def write_bytes(path, data):
        with path.open("wb") as file:
            if path.parent.parent.name.endswith(".part"):
                room[0] -= 1
                if room[0] < 0:
                    file.write(data[:10])
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            file.write(data)

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_bytes", write_bytes)
        with pytest.raises(OSError, match="No space left"):
            localize_files(fake_localizer(), photos, out, batch_size=2)
    assert not list(out.glob(".*"))
    for record in lines(out):
        assert (out / record["overlay"]).exists()
        assert (out / record["heatmap"]).exists()
    done = len(lines(out))
    assert done < 5
    summary = localize_files(fake_localizer(), photos, out)
    assert (summary.localized, summary.skipped) == (9 - done, done)


def test_out_is_a_file(tmp_path, fake_localizer):
    (tmp_path / "out").touch()
    with pytest.raises(NotADirectoryError):
        localize_files(fake_localizer(), paint(tmp_path / "a.png"), tmp_path / "out")


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_from_there(tmp_path, out, fake_program):
    photos = [paint(tmp_path / "in" / f"{i:02}.png") for i in range(24)]
    for least in (1, 7):
        with start(fake_program, out, tmp_path / "in", seconds_a_batch=0.05) as process:
            wait_until(process, lambda least=least: len(list(read_results(out))) >= least)
            process.kill()
        done = list(read_results(out))
        assert least <= len(done) < len(photos)
        for record in done:
            for key in ("overlay", "heatmap"):
                Image.open(out / record[key]).load()  # whole
    finished = {record["file"]: (out / record["overlay"]).stat().st_mtime_ns for record in done}
    with (out / "results.jsonl").open("ab") as file:
        file.write(b'{"file": "/torn')
    with start(fake_program, out, tmp_path / "in") as process:
        assert process.wait() == 0
    assert sorted(record["file"] for record in lines(out)) == [str(photo) for photo in photos]
    for record in lines(out):
        if record["file"] in finished:
            assert (out / record["overlay"]).stat().st_mtime_ns == finished[record["file"]]
    assert len(files_in(out)) == 2 * len(photos) + 2  # no remains


@pytest.mark.slow
def test_interrupted_it_ends_soon_and_clean(tmp_path, out, fake_program):
    for i in range(24):
        paint(tmp_path / "in" / f"{i:02}.png")
    with start(fake_program, out, tmp_path / "in", seconds_a_batch=1) as process:
        wait_until(process, lambda: list(read_results(out)))
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) != 0
    assert not [name for name in files_in(out) if ".part" in name]
    assert 1 <= len(lines(out)) < 24


def start(program, out, photos, seconds_a_batch=0):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "SECONDS_A_BATCH": str(seconds_a_batch),
    }
    command = [sys.executable, program, out, photos]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def wait_until(process, condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "it ended before its time"
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def test_models_of_one_name_do_not_share_results(tmp_path, out, fake_localizer):
    photo = paint(tmp_path / "a.png")
    localize_files(fake_localizer(weights=[1.0]), photo, out)
    again = localize_files(fake_localizer(weights=[1.0]), photo, out)
    assert (again.localized, again.skipped) == (0, 1)
    for other in ({"weights": [2.0]}, {"weights": [1.0], "class_names": ("sea", "fire")}):
        with pytest.raises(SettingsChangedError, match="model_sha256 was '"):
            localize_files(fake_localizer(**other), photo, out)
    found = localize_files(fake_localizer(weights=[2.0]), photo, out, overwrite=True)
    assert (found.localized, found.skipped) == (1, 0)


class Counted:
    """Knows how many photos are alive."""

    alive = most = 0

    def __init__(self):
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def __del__(self):
        Counted.alive -= 1


def write(name, photo, result, pixels):
    assert photo.width == 4
    assert pixels is None
    return {"name": name, "label": int(result.labels[0])}


@pytest.mark.parametrize("batch_size", [1, 4])
def test_only_the_next_few_photos_are_in_memory(tmp_path, monkeypatch, fake_localizer, batch_size):
    Counted.alive = Counted.most = 0

    def read_photo(path, size, *, view):
        if path.stem.endswith("7"):
            raise PhotoError("it ends in 7")
        assert view
        photo = Photo(np.zeros((*size, 3), np.uint8), None, 4, 4)
        object.__setattr__(photo, "counted", Counted())
        return photo

    monkeypatch.setattr(stream, "read_photo", read_photo)
    drawn = []

    def sources():
        for i in range(300):
            drawn.append(i)
            path = tmp_path / f"{i}.jpg"
            path.touch()
            yield Source(path, str(i))

    localizer = fake_localizer()
    options = {"labels": [1], "batch_size": batch_size}
    results = []
    for result in stream.localize_stream(sources(), localizer, write, **options):
        results.append(result)
        assert len(drawn) <= len(results) + 6 * batch_size + 3
    failures = [result for result in results if isinstance(result, Failure)]
    records = [result for result in results if not isinstance(result, Failure)]
    assert len(failures) == 30
    assert [record["name"] for record in records] == [str(i) for i in range(300) if i % 10 != 7]
    assert all(record["label"] == 1 for record in records)
    assert set(localizer.batches[:-1]) == {batch_size}
    # A batch being localised, and at most two more on either side of the model.
    assert Counted.most <= 5 * batch_size + 2


def test_photos_of_an_archive_say_where_they_are_from(tmp_path, out, fake_localizer):
    paint(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "1/a.png")
        archive.write(tmp_path / "a.png", "b.png")
    for localized in (1, 0):
        ended = localize_files(fake_localizer(), tmp_path / "a.zip", out, exclude=["b.*"])
        assert (ended.localized, ended.failures) == (localized, [])
    (record,) = lines(out)
    assert record["source"] == str(tmp_path / "a.zip/1/a.png")
    assert record["file"] == str(out / "inputs/a.zip/1/a.png")
    assert record["overlay"] == "a.zip/1/a_overlay.png"


def test_overlays_of_a_video_become_a_video(tmp_path, out, fake_localizer):
    av = pytest.importorskip("av")
    pictures = [paint(tmp_path / f"{k}.png", size=(64, 48)) for k in range(4)]
    video.write_video(tmp_path / "clip.mp4", pictures, 2)
    ended = localize_files(fake_localizer(), tmp_path / "clip.mp4", out, fps=2)
    assert (ended.localized, ended.failures) == (4, [])
    with (
        Image.open(out / lines(out)[0]["overlay"]) as overlay,
        av.open(out / "clip.mp4_overlay.mp4") as v,
    ):
        frames = [frame.to_ndarray(format="rgb24") for frame in v.decode(video=0)]
        assert len(frames) == 4
        error = np.abs(frames[0] - np.asarray(overlay, float))
    assert error.mean() < 8  # what compression changes
    (out / "clip.mp4_overlay.mp4").unlink()
    localize_files(fake_localizer(), tmp_path / "clip.mp4", out, fps=2)
    assert (out / "clip.mp4_overlay.mp4").exists()
    localize_files(fake_localizer(), tmp_path / "clip.mp4", out, fps=1)  # of other frames
    assert [Path(line["file"]).name for line in lines(out)] == [
        "000001_0.000s.jpg",
        "000002_1.000s.jpg",
    ]


def test_a_video_that_is_called_like_that_of_overlays_stays(tmp_path, out, fake_localizer, capsys):
    pytest.importorskip("av")
    video.write_video(tmp_path / "clip.mp4", [paint(tmp_path / "0.png", size=(64, 48))], 1)
    out.mkdir()
    (out / "clip.mp4_overlay.mp4").write_bytes(b"mine")
    ended = localize_files(fake_localizer(), tmp_path / "clip.mp4", out)
    assert (ended.localized, ended.failures) == (1, [])
    assert (out / "clip.mp4_overlay.mp4").read_bytes() == b"mine"
    assert "no video is written" in capsys.readouterr().err


def test_photos_where_outputs_go_are_not_written_over(tmp_path, fake_localizer):
    paint(tmp_path / "a.jpg")
    before = paint(tmp_path / "a_mask.png", SEA).read_bytes()
    for _ in range(2):
        localize_files(fake_localizer(), [tmp_path], tmp_path, mask=["png"])
        assert (tmp_path / "a_mask.png").read_bytes() == before
        assert {line["name"] for line in lines(tmp_path)} == {"a-2", "a_mask"}
        os.utime(tmp_path / "a.jpg", (1, 1))


def test_a_file_that_is_called_like_an_output_is_not_written_over(tmp_path, out, fake_localizer):
    paint(tmp_path / "a.png")
    out.mkdir()
    (out / "a_overlay.png").write_text("a drawing of mine")
    for options in ({}, {}, {"overwrite": True, "top": 2}):
        localize_files(fake_localizer(), tmp_path / "a.png", out, **options)
        assert (out / "a_overlay.png").read_text() == "a drawing of mine"
        assert [line["overlay"] for line in lines(out)] == ["a-2_overlay.png"]


def test_how_a_decoders_map_is_divided_is_noted_and_does_not_mix(tmp_path, out, fake_localizer):
    localizer = fake_localizer()
    localizer.share = "one formula"
    localize_files(localizer, paint(tmp_path / "a.png"), out)
    kept = json.loads((out / "settings.json").read_text())
    assert kept["made_with"]["share"] == "one formula"
    localizer.share = "another"
    with pytest.raises(SettingsChangedError, match="another"):
        localize_files(localizer, paint(tmp_path / "b.png"), out)


def test_an_archive_that_lies_where_outputs_go(tmp_path, fake_localizer):
    paint(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "a.png")
    ended = localize_files(fake_localizer(), tmp_path / "a.zip", tmp_path)
    assert (ended.localized, ended.failures) == (1, [])
    assert lines(tmp_path)[0]["overlay"] == "a-2.zip/a_overlay.png"


def test_a_photo_in_an_archive_that_is_called_like_an_output(tmp_path, out, fake_localizer):
    paint(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "a_overlay.png")
    for localized, skipped in ((1, 0), (0, 1)):
        ended = localize_files(fake_localizer(), tmp_path / "a.zip", out)
        assert (ended.localized, ended.skipped) == (localized, skipped)


def test_nothing_is_brought_into_a_folder_of_other_settings(tmp_path, out, fake_localizer):
    paint(tmp_path / "a.png")
    localize_files(fake_localizer(), tmp_path / "a.png", out)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "a.png")
    with pytest.raises(SettingsChangedError):
        localize_files(fake_localizer(), tmp_path / "a.zip", out, heatmap="npy")
    assert not (out / "inputs").exists()
    localize_files(fake_localizer(), tmp_path / "a.zip", out)  # which is not locked any more
