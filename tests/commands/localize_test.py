import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco
from skimage import data

from fcam_tf import cli, models
from fcam_tf.identity import file_sha256
from fcam_tf.localization import largest_component
from fcam_tf.masks import box_of
from fcam_tf.photos import read_photo
from fcam_tf.predict import Localizer, job
from fcam_tf.refine import refine_maps
from fcam_tf.visualize import resize_heatmap
from tests.models.tiny import tiny_classifier

# Keras saves variables through an old protocol of NumPy's.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def status(*arguments):
    return cli.run(["fcam", "localize", *map(str, arguments)])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, tiny_backbone):
    """A saved classifier of three classes, with random weights."""
    path = tmp_path_factory.mktemp("model") / "tiny.keras"
    names = ["one, uno", "two", "three"]
    models.Classifier(tiny_backbone, 3, weights=None, class_names=names).save(path)
    return path


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        image = Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8))
        image.save(folder / f"{i}.png")
    return folder


def lines(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_a_saved_classifier(tiny, photos, tmp_path, capfd):
    arguments = ["photos", "gone.jpg", "--model", tiny, "--label", "uno"]
    assert status(*arguments, "--batch-size", 2, "--heatmap=none") == 1
    records = lines(tmp_path / "fcam-output")
    assert [record["file"] for record in records] == [str(photos / f"{i}.png") for i in range(3)]
    assert {record["label"] for record in records} == {0}
    out, err = capfd.readouterr()
    assert out.startswith("photos/0.png: one, uno ")
    assert len(out.splitlines()) == 3
    assert err.splitlines() == [
        "fcam: gone.jpg: there is no such file",
        f"Loading {tiny} ...",
        "maps of layercam at P4,P5, threshold otsu",
        "3 localised, 1 failed; results in fcam-output/results.jsonl",
    ]

    assert status(*arguments[:1], *arguments[2:], "--heatmap=none") == 0
    again, err = capfd.readouterr()
    assert again == out
    assert err == "0 localised, 3 done before; results in fcam-output/results.jsonl\n"

    assert status("photos", "--model", tiny) == 2
    err = capfd.readouterr().err
    assert (
        "fcam-output holds results made with other flags: --label uno was given before, and "
        "is not now, --heatmap was none before, and is png now; give the same, or another folder "
        "with --out"
    ) in err
    assert "--overwrite" in err


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--model=none.keras"], "--model none.keras: there is no such file"),
        (["--model=resnet50"], "Did you mean 'resnet50_layercam'?"),
        (["--threshold=high"], r"--threshold must be 'otsu' or a number in [0, 1]. Received: high"),
        (["--out=photos/0.png"], "--out photos/0.png is not a folder"),
        (["--method=layrcam"], "Did you mean 'layercam'"),
        (["--label=1", "--top=2"], "--label and --top exclude each other"),
        (["--objects=0"], "--objects: must be 'all' or a whole number, 1 or more. Received: 0"),
        (["--min-area=2"], "--min-area must be in [0, 1]. Received: 2.0"),
        (["--mask=jpg"], "--mask: value is unknown: 'jpg'"),
    ],
)
def test_wrong_usage(capsys, wrong, message):
    assert status("photos", *wrong) == 2
    assert message in capsys.readouterr().err
    assert not os.path.lexists("fcam-output")


def test_wrong_label(tiny, photos, capfd):
    assert status(photos, "--model", tiny, "--label=tow") == 2
    assert (
        "--label 'tow' is not a class of this model; did you mean 'two'?" in capfd.readouterr().err
    )
    assert not os.path.lexists("fcam-output")


def test_a_model_that_cannot_be_explained(tiny, photos, monkeypatch, capfd):
    monkeypatch.setattr("fcam_tf.models.load", lambda _: keras.Sequential())
    assert status(photos, "--model", tiny) == 2
    assert "--model must be a functional or built sequential model" in capfd.readouterr().err


def test_damaged_weights(photos, tmp_path, tiny_backbone, capfd):
    model = models.Classifier(tiny_backbone, 3, weights=None)
    model.set_weights([np.full(weight.shape, np.nan) for weight in model.get_weights()])
    model.save(tmp_path / "nan.keras")
    assert status(photos, "--model", tmp_path / "nan.keras") == 1
    assert "fcam: The logits are not finite" in capfd.readouterr().err


def test_where_nothing_can_be_written(tiny, photos, capfd):
    assert status(photos, "--model", tiny, "--out=/proc/fcam-output") == 1
    # Before any model is loaded.
    assert capfd.readouterr().err == "fcam: /proc/fcam-output: No such file or directory\n"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--scales=1,x"], "--scales: must be numbers separated by commas, such as 1,1.5,2"),
        (["--scales=2,3"], "--scales must contain 1, whose logits are given. Received: [2.0, 3.0]"),
        (["--scales=1,-2"], "--scales must be above 0, and finite. Received: -2.0"),
        (["--grid=14"], "--grid: must be a height and a width, such as 14,14. Received: 14"),
        (["--grid=3,3"], "--grid must be left out: 'P4' gives a map"),
    ],
)
def test_wrong_options_of_the_method(tiny, photos, capfd, wrong, message):
    assert status(photos, "--model", tiny, *wrong) == 2
    assert message in capfd.readouterr().err
    assert not os.path.lexists("fcam-output")


def test_refined_at_the_photo_s_own_resolution(tiny, photos, tmp_path, capfd):
    command = (photos / "0.png", "--model", tiny, "--heatmap=npy", "--refine=crf", "--out")
    capfd.readouterr()
    assert status(*command, tmp_path / "a") == 0
    assert ", refine crf, thr" in capfd.readouterr().err
    (record,) = lines(tmp_path / "a")
    assert record["options"] == {"refine": "crf"}
    localizer = Localizer(models.load(tiny))
    photo = read_photo(photos / "0.png", localizer.image_size)
    coarse = localizer(photo.pixels[None]).heatmaps
    found = np.load(tmp_path / "a" / "0_heatmap.npy")
    assert found.shape == (photo.height, photo.width)
    np.testing.assert_allclose(found, refine_maps(coarse, photo.view[None])[0], atol=1e-4)
    mask = largest_component(found > record["threshold"] * found.max())
    assert np.abs(np.array(box_of(mask)) - record["box"]).max() <= 1  # of 256 levels
    capfd.readouterr()
    assert status(*command[:-2], "--out", tmp_path / "a") == 2
    assert "--refine crf was given before, and is not now" in capfd.readouterr().err


def test_scales_and_flips(tiny, photos, tmp_path, capfd):
    command = (photos, "--model", tiny, "--heatmap=npy", "--method=cam")
    more = (*command, "--scales=1.5,1", "--flip", "--out", tmp_path / "more")
    capfd.readouterr()
    assert status(*more) == 0
    assert "maps of cam at P5, scales 1,1.5, flip, thr" in capfd.readouterr().err
    options = {"scales": [1, 1.5], "flip": True}
    assert [record["options"] for record in lines(tmp_path / "more")] == [options] * 3
    localizer = Localizer(models.load(tiny), "cam", **options)
    pixels = read_photo(photos / "0.png", localizer.image_size).pixels[None]
    heatmap = localizer(pixels).heatmaps[0]
    found = np.load(tmp_path / "more" / "0_heatmap.npy")
    np.testing.assert_allclose(found, resize_heatmap(heatmap, 64, 48), atol=1e-4)

    assert status(*more) == 0
    assert "3 done before" in capfd.readouterr().err
    assert status(*command, "--scales=1,1.5", "--out", tmp_path / "more") == 2
    assert "--flip was given before, and is not now" in capfd.readouterr().err


def test_calls_of_the_model_at_once(tiny, photos, tmp_path, monkeypatch):
    command = (photos, "--model", tiny, "--heatmap=npy", "--overlay=none", "--batch-size=1")
    assert status(*command, "--out", tmp_path / "one") == 0
    calls, stream = [], job.localize_stream

    def counted(*arguments, **options):
        calls.append(options["calls"])
        return stream(*arguments, **options)

    monkeypatch.setattr(job, "localize_stream", counted)
    monkeypatch.setattr("fcam_tf.commands.localize.share_cores", lambda batches: batches - 1)
    assert status(*command, "--out", tmp_path / "two") == 0
    assert calls == [2]
    assert lines(tmp_path / "two") == lines(tmp_path / "one")
    for i in range(3):
        one, two = (np.load(tmp_path / out / f"{i}_heatmap.npy") for out in ("one", "two"))
        np.testing.assert_array_equal(two, one)


@pytest.mark.usefixtures("photos")
def test_every_class_that_a_photo_shows(tmp_path, capfd):
    """Of a classifier with a sigmoid for each class, without class names."""
    keras.utils.set_random_seed(0)
    net = tiny_classifier()
    net.layers[-1].bias.assign([3, 4, -9])
    keras.Sequential([net, keras.layers.Activation("sigmoid")]).save("net.keras")
    command = ("photos/0.png", "--model", "net.keras", "--method", "cam")
    assert status(*command) == 0
    out = capfd.readouterr().out.splitlines()
    (record,) = lines(tmp_path / "fcam-output")
    assert [each["label"] for each in record["objects"]] == [1, 0]
    assert [line[: len("photos/0.png: class 1 ")] for line in out] == [
        *("photos/0.png: class 1 ", "photos/0.png: class 0 ")
    ]
    assert out[1].endswith("-> fcam-output/0_overlay_2.png")
    folder = tmp_path / "fcam-output"
    assert (folder / "0_heatmap_2.png").read_bytes() != (folder / "0_heatmap.png").read_bytes()

    assert status(*command) == 0
    assert capfd.readouterr().out.splitlines() == out
    assert status(*command, "--label=2", "--out", "one") == 0
    (record,) = lines(tmp_path / "one")
    assert [each["label"] for each in record["objects"]] == [2]
    assert sorted(p.name for p in (tmp_path / "one").glob("*.png")) == [
        *("0_heatmap.png", "0_overlay.png")
    ]


@pytest.mark.slow
def test_the_cat(tmp_path):
    """The whole way, in a process of its own, with the pretrained model."""
    Image.fromarray(data.chelsea()).save(tmp_path / "cat.png")
    process = subprocess.run(
        [sys.executable, "-c", "from fcam_tf.cli import main; main()", "localize", "cat.png"],
        check=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert process.stdout.startswith("cat.png: Egyptian cat ")
    assert process.stderr.splitlines() == [
        "Loading efficientnetlite_b0_layercam ...",
        "maps of fcam, threshold 0.563",
        "1 localised; results in fcam-output/results.jsonl",
    ]
    (record,) = lines(tmp_path / "fcam-output")
    assert (record["width"], record["height"]) == (451, 300)
    assert record["score"] > 0.5
    # The cat's extent as judged by eye: from the left border to the tip of the right ear.
    x0, y0, x1, y1 = record["box"]
    intersection = (min(x1, 398) - x0 + 1) * (y1 - y0 + 1)
    union = 399 * 300 + (x1 - x0 + 1) * (y1 - y0 + 1) - intersection
    assert intersection / union > 0.5


def test_a_training_run(photos, tmp_path, capfd):
    run = tmp_path / "run"
    run.mkdir()
    models.FCAM.from_classifier(tiny_classifier(), decoder_filters=(4, 4, 4)).save(
        run / "best.keras"
    )
    assert status(photos, "--model", run, "--out", tmp_path / "a", "--heatmap=none") == 0
    assert len(lines(tmp_path / "a")) == 3
    command = ("--model", run, "--out", tmp_path / "b", "--heatmap=none", "--method=gradcam")
    assert status(photos, *command) == 0
    (run / "best.keras").unlink()
    assert status(photos, "--model", run, "--out", tmp_path / "c") == 2
    assert "no best.keras" in capfd.readouterr().err


@pytest.mark.usefixtures("photos")
def test_all_of_it_taken_away(tiny, tmp_path, capfd):
    rest = ("--label=two", "-l", "uno", "--objects=all", "--min-area=0.001", "--heatmap=none")
    files = ("--overlay=webp", "--mask=rle", "--mask=png", "--crops", "--cutouts")
    command = ("photos/0.png", "--model", tiny, *rest, *files)
    assert status(*command) == 0
    out = capfd.readouterr().out.splitlines()
    (record,) = lines(tmp_path / "fcam-output")
    objects = record["objects"]
    assert len(objects) == len(out) >= 2  # the model's weights are random
    assert {each["label"] for each in objects} == {0, 1}
    assert {each["overlay"] for each in objects} == {"0_overlay.webp", "0_overlay_2.webp"}
    assert [each["mask"] for each in objects[:2]] == ["0_mask.png", "0_mask_2.png"]
    for each in objects:
        mask = coco.decode(each["rle"])
        assert mask.shape == (48, 64)
        assert mask.mean() == pytest.approx(each["area"], abs=0.01)
        with Image.open(tmp_path / "fcam-output" / each["cutout"]) as cutout:
            x0, y0, x1, y1 = each["box"]
            assert cutout.size == (x1 - x0 + 1, y1 - y0 + 1)
    assert status(*command) == 0
    assert "1 done before" in capfd.readouterr().err
    assert status(*command[:-1]) == 2
    assert "--cutouts was given before, and is not now" in capfd.readouterr().err


def test_classes_of_a_decoder(photos, tmp_path, capfd):
    keras.utils.set_random_seed(0)  # else all four filters of a block may be dead
    model = models.FCAM.from_classifier(tiny_classifier(), decoder_filters=(4, 4, 4))
    model.save(tmp_path / "fcam.keras")
    command = ("--model", tmp_path / "fcam.keras", "--heatmap=npy")
    told = "for each class, it is kept only where the classifier sees that class rather than others"
    maps = {}
    for name, wanted in (("plain", []), ("asked", ["--label=1"]), ("top", ["--top=3"])):
        assert status(photos, *command, *wanted, "--out", tmp_path / name) == 0
        assert capfd.readouterr().err.count(told) == (name != "plain")
        record = lines(tmp_path / name)[0]
        for each in record["objects"]:
            maps[name, each["label"]] = np.load(tmp_path / name / each["heatmap"])
    assert len(maps) == 5
    (plain,) = (value for (name, _), value in maps.items() if name == "plain")
    assert (maps["asked", 1] <= plain + 1e-6).all()
    np.testing.assert_allclose(maps["asked", 1], maps["top", 1], atol=1e-6)
    assert np.abs(maps["top", 0] - maps["top", 1]).max() > 1e-3


@pytest.mark.usefixtures("photos")
def test_another_model_of_the_same_name_is_refused(tmp_path, capfd):
    for _ in range(2):
        tiny_classifier().save("net.keras")
        code = status("photos", "--model", "net.keras", "--method", "cam")
    now = file_sha256("net.keras")
    assert code == 2
    assert "what --model names has changed" in capfd.readouterr().err
    assert status("photos", "--model", "net.keras", "--method", "cam", "--overwrite") == 0
    err = capfd.readouterr().err
    assert "3 localised" in err
    assert "done before" not in err
    # The same one by another path or a link is the same.
    (tmp_path / "link.keras").symlink_to("net.keras")
    for path in (tmp_path / "net.keras", "link.keras"):
        assert status("photos", "--model", path, "--method", "cam") == 0
        err = capfd.readouterr().err
        assert "0 localised, 3 done before" in err
        assert "Loading" not in err
    assert (
        json.loads((tmp_path / "fcam-output" / "settings.json").read_text())["settings"][
            "model_sha256"
        ]
        == now
    )


@pytest.mark.usefixtures("photos")
def test_what_auto_comes_to_is_noted_and_does_not_mix(tmp_path, capfd):
    tiny_classifier().save("net.keras")
    rest = ("--model", "net.keras", "--heatmap=none")
    assert status("photos/0.png", *rest) == 0
    file = tmp_path / "fcam-output" / "settings.json"
    kept = json.loads(file.read_text())
    assert kept["settings"]["method"] == "auto"
    made_with = {"method": "layercam", "layer": "relu2", "threshold": "otsu", "label": []}
    assert kept["made_with"] == made_with
    file.write_text(json.dumps(kept | {"made_with": made_with | {"method": "cam"}}))
    assert status("photos/0.png", *rest) == 0  # nothing is to do
    assert status("photos", *rest) == 2
    assert "holds results made with {'method': 'cam'" in capfd.readouterr().err
    assert status("photos", *rest, "--overwrite") == 0


@pytest.mark.usefixtures("photos")
def test_annotations_of_a_job_and_of_a_rerun(tiny, tmp_path, capfd):
    command = ("photos", "--model", tiny, "--annotations", "coco", "--annotations=voc")
    assert status(*command, "--table=csv") == 0
    out = tmp_path / "fcam-output"
    read = json.loads((out / "annotations" / "coco.json").read_text())
    assert [image["file_name"] for image in read["images"]] == ["0.png", "1.png", "2.png"]
    for each, record in zip(read["annotations"], lines(out), strict=True):
        x0, y0, x1, y1 = record["box"]
        assert each["bbox"] == [x0, y0, x1 - x0 + 1, y1 - y0 + 1]
        assert coco.decode(each["segmentation"])[y0 : y1 + 1, x0 : x1 + 1].sum() == each["area"]
    assert len(list((out / "annotations" / "voc" / "Annotations").iterdir())) == 3
    capfd.readouterr()

    (out / "objects.csv").unlink()
    assert status(*command, "--table=csv") == 0
    err = capfd.readouterr().err
    assert "Loading" not in err
    assert "annotations in fcam-output/annotations/coco.json" in err
    assert len((out / "objects.csv").read_text().splitlines()) == 4


def test_annotations_of_photos_that_are_gone_or_have_changed(tiny, photos, capfd):
    command = ("--model", tiny, "--overlay=none", "--table=csv")
    assert status(*(f"photos/{n}.png" for n in range(3)), *command) == 0
    assert "were removed" not in capfd.readouterr().err
    (photos / "0.png").unlink()
    os.utime(photos / "1.png", (0, 0))
    assert status("photos/2.png", *command) == 0
    err = capfd.readouterr().err
    assert "removed or changed after they were localised: photos/0.png, photos/1.png; " in err
    assert status("photos", *command) == 0  # the changed one again
    assert "after they were localised: photos/0.png; " in capfd.readouterr().err


def test_unknown_annotations(photos, capsys):
    assert status(photos, "--annotations=tfrecord") == 2
    assert "--annotations: value is unknown: 'tfrecord'" in capsys.readouterr().err
    assert status(photos, "--table=xls") == 2
    assert not os.path.lexists("fcam-output")


@pytest.mark.usefixtures("photos")
def test_a_report(tiny, tmp_path, capfd, monkeypatch):
    addresses = []
    monkeypatch.setattr("webbrowser.open", lambda address: addresses.append(address) or False)
    page = tmp_path / "fcam-output" / "report.html"
    assert status("photos/0.png", "--model", tiny, "--report") == 0
    assert capfd.readouterr().err.endswith("report in fcam-output/report.html\n")
    assert addresses == []
    assert len(list((page.parent / "report").iterdir())) == 2

    assert status("photos", "--model", tiny, "--single-file", "--open") == 0
    err = capfd.readouterr().err
    assert err.endswith("fcam: no browser was found to open the report with\n")
    assert addresses == [page.as_uri()]
    assert all(f'"{i}.png"' in page.read_text() for i in range(3))
    assert not (page.parent / "report").exists()

    assert status("photos", "--model", tiny, "--report", "--heatmap", "none") == 2
    assert "leave out --heatmap none" in capfd.readouterr().err
    assert status("gone.jpg", "--model", tiny, "--report", "--out", "none") == 1
    assert not (tmp_path / "none").exists()
