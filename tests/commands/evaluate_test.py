import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from fcam_tf import cli, zoo
from fcam_tf.commands.model import find_model
from fcam_tf.data import load, write_shapes
from fcam_tf.identity import file_sha256
from fcam_tf.metrics import MaxBoxAccV2, PxAP, join_masks, normalize_cam, resize_boxes
from fcam_tf.models import FCAM
from tests.models.tiny import tiny_classifier

pytestmark = pytest.mark.usefixtures("plain_report")


def status(*arguments):
    return cli.run(["fcam", "evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_shapes(tmp_path_factory.mktemp("data") / "shapes", {"val": 5, "test": 6}, 48)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a training run with an F-CAM."""
    folder = tmp_path_factory.mktemp("run")
    model = FCAM.from_classifier(tiny_classifier(classes=5), decoder_filters=(4, 4, 4))
    model.save(folder / "best.keras")
    return folder


def metrics(out):
    return json.loads((out / "metrics.json").read_text())


def test_a_decoder_against_its_classifier(data, run, tmp_path, capfd):
    first, second = tmp_path / "cam", tmp_path / "fcam"
    assert status("--data", data, "--model", run, "--method", "cam", "--out", first) == 0
    command = ("--data", data, "--model", run, "--out", second, "--compare", first)
    assert status(*command, "--threshold-split", "val") == 0
    out, err = capfd.readouterr()
    assert "difference" in out
    assert str(second / "report.html") in err
    assert metrics(second)["settings"]["method"] == "fcam"
    with (second / "results.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == list(load(data, "test").ids)
    # Again: nothing is left to score, and the figures stay.
    before = metrics(second)
    assert status(*command, "--threshold-split", "val") == 0
    assert metrics(second) == before
    # Other settings do not go into the same folder unless they may.
    assert status(*command) == 2
    assert "--threshold-split val was given before, and is not now" in capfd.readouterr().err
    assert status(*command, "--overwrite") == 0


def test_mirrored_images_and_scales(data, run, tmp_path, capfd):
    command = ("--data", data, "--model", run, "--out", tmp_path / "a", "--refine=crf", "--flip")
    assert status(*command) == 0
    out, err = capfd.readouterr()
    assert "maps of fcam, flip, refine crf\n" in err
    assert "fcam (flip, refine crf)" in out
    options = {"flip": True, "refine": "crf"}
    assert metrics(tmp_path / "a")["settings"]["options"] == options
    assert "fcam (flip, refine crf)" in (tmp_path / "a" / "report.html").read_text()
    assert status(*command) == 0
    assert "Loading" not in capfd.readouterr().err
    assert status(*command[:-1]) == 2
    assert "--flip was given before, and is not now; give the same, or" in capfd.readouterr().err
    assert status(*command[:-4], "--out", tmp_path / "b", "--scales=1,2") == 2
    assert "--scales must be left out with method 'fcam'" in capfd.readouterr().err
    assert status(*command[:-4], "--out", tmp_path / "b", "--scales=1,1.5", "--method=cam") == 0
    assert "cam (relu2, scales 1,1.5)" in capfd.readouterr().out


def test_the_benchmark_s_way_of_scaling(data, run, tmp_path, capfd):
    command = ("--data", data, "--model", run, "--method", "cam", "--out")
    assert status(*command, tmp_path / "a") == 0
    assert status(*command, tmp_path / "a", "--scaling=bicubic") == 2
    assert "--scaling was bilinear before, and is bicubic now" in capfd.readouterr().err
    assert status(*command, tmp_path / "b", "--scaling=bicubic", "--compare", tmp_path / "a") == 0
    assert "cam (relu2, bicubic)" in (tmp_path / "b" / "report.html").read_text()
    assert metrics(tmp_path / "a")["PxAP"] != metrics(tmp_path / "b")["PxAP"]
    assert status("--data", data, "--model", run, "--out", tmp_path / "c", "--scaling=bicubic") == 2
    assert "--scaling must be 'bilinear' for maps that are not coarse" in capfd.readouterr().err
    center = ("--data", data, "--method=center", "--out", tmp_path / "c", "--scaling=bicubic")
    assert status(*center) == 2
    assert "--method center and --scaling exclude each other" in capfd.readouterr().err


def test_maps_are_measured_as_explanations_too(data, tmp_path, capfd):
    model = tmp_path / "tiny.keras"  # of one size: there are a hundred passes for each image
    FCAM.from_classifier(tiny_classifier(48, 5), decoder_filters=(4, 4, 4)).save(model)
    command = ("--data", data, "--model", model, "--out", tmp_path / "a", "--explanation")
    assert status(*command) == 0
    out, _ = capfd.readouterr()
    before = metrics(tmp_path / "a")
    for name in ("Deletion", "Insertion", "PointingGame"):
        assert name in out
        assert 0 <= before[name] <= 100
    assert status(*command) == 0
    assert metrics(tmp_path / "a") == before
    assert status(*command[:-1]) == 2
    assert "explanation" in capfd.readouterr().err


def test_stored_maps(data, tmp_path, capfd):
    maps, split = tmp_path / "maps", load(data, "test")
    v2, pxap = MaxBoxAccV2(), PxAP()
    for i, name in enumerate(split.ids):
        heatmap = normalize_cam(np.random.default_rng(i).random((7, 7)))
        file = maps / f"{name}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, heatmap)
        v2.update_state([heatmap], [resize_boxes(split.boxes[i], split.size(i), (224, 224))])
        pxap.update_state([heatmap], [join_masks(*split.read_masks(i), (224, 224))])
    assert status("--data", data, "--maps", maps, "--out", tmp_path / "a") == 0
    found = metrics(tmp_path / "a")
    assert (found["MaxBoxAccV2"], found["PxAP"]) == (v2.result(), pxap.result())
    assert found["accuracy"] is None
    # Maps that were made again must not hide behind what was scored before.
    file = next(maps.rglob("*.npy"))
    np.save(file, np.load(file)[::-1])
    assert status("--data", data, "--maps", maps, "--out", tmp_path / "a") == 0
    assert metrics(tmp_path / "a")["PxAP"] != pxap.result()
    np.save(file, np.full((224, 224), np.nan))
    assert status("--data", data, "--maps", maps, "--out", tmp_path / "a") == 1
    name = file.relative_to(maps).with_suffix("")
    assert f"map of {name} contains NaN" in capfd.readouterr().err
    file.unlink()
    assert status("--data", data, "--maps", maps, "--out", tmp_path / "b") == 2


def test_center_with_a_real_report(data, tmp_path, capfd, monkeypatch):
    monkeypatch.undo()
    assert status("--data", data, "--method", "center", "--out", tmp_path / "a") == 0
    assert "MaxBoxAccV2" in capfd.readouterr().out
    assert "<img" in (tmp_path / "a" / "report.html").read_text()


def test_broken_photos_are_left_out(data, tmp_path, capfd):
    shutil.copytree(data, tmp_path / "shapes")
    broken, whole = load(tmp_path / "shapes", "test").paths[2], tmp_path / "whole.png"
    shutil.move(broken, whole)
    broken.write_bytes(whole.read_bytes()[:200])
    command = ("--data", tmp_path / "shapes", "--maps", tmp_path / "maps", "--out", tmp_path / "a")
    ids = load(data, "test").ids
    for name in ids[:2] + ids[3:]:  # there is none of the broken one, and none is needed
        file = tmp_path / "maps" / f"{name}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.eye(224))
    assert status(*command) == 2
    assert status(*command, "--skip-broken") == 0
    err = capfd.readouterr().err
    assert "left out of test" in err
    assert broken.name in err
    assert metrics(tmp_path / "a")["settings"]["left_out"] == [ids[2]]
    with (tmp_path / "a" / "results.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == [*ids[:2], *ids[3:]]
    before = metrics(tmp_path / "a")
    assert status(*command, "--skip-broken") == 0
    assert metrics(tmp_path / "a") == before
    # An evaluation of all is another one, and neither compared with nor gone on with.
    center = ("--data", tmp_path / "shapes", "--method=center", "--compare", tmp_path / "a")
    assert status(*center, "--out", tmp_path / "b", "--skip-broken") == 0
    shutil.move(whole, broken)
    assert status(*center, "--out", tmp_path / "c") == 2
    capfd.readouterr()
    np.save(tmp_path / "maps" / f"{ids[2]}.npy", np.eye(224))
    assert status(*command, "--skip-broken") == 2
    assert "--skip-broken leaves out other photos than before" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out={out}", "--method=center"), "required: -d/--data"),
        (("--data={data}", "--method=center"), "required: -o/--out"),
        (("--data={data}", "--out={out}"), "--model is missing"),
        (("--data={data}", "--out={out}", "--model=resnet51"), "resnet50_layercam"),
        (("--data={data}", "--out={out}", "--model=gone.keras"), "no such file"),
        (("--data={data}", "--out={out}", "--model={data}"), "there is no best.keras in"),
        (("--data={data}", "--out={out}", "--model={run}", "--layer=P4"), "--layer must be left"),
        (("--data={data}", "--out={out}", "--maps=a", "--model={run}"), "exclude each other"),
        (
            ("--data={data}", "--out={out}", "--method=center", "--flip"),
            "--method center and --flip exclude each other",
        ),
        (
            ("--data={data}", "--out={out}", "--method=center", "--explanation"),
            "--method center and --explanation exclude each other",
        ),
        (("--data={data}", "--out={out}", "--method=center", "--split=tset"), "tset"),
        (("--data=gone", "--out={out}", "--method=center"), "gone"),
        (("--data={data}", "--out={out}", "--method=center", "--compare={out}"), "another folder"),
        (("x", "--data={data}", "--out={out}", "--method=center"), "unrecognized arguments: x"),
    ],
)
def test_wrong_usage(data, run, tmp_path, arguments, message, capfd):
    out = tmp_path / "out"
    assert status(*(a.format(data=data, out=out, run=run) for a in arguments)) == 2
    assert message in capfd.readouterr().err
    assert not (out / "metrics.json").exists()


def test_a_model_of_other_classes(data, tmp_path, capfd):
    tiny_classifier(classes=3).save(tmp_path / "three.keras")
    command = ("--data", data, "--model", tmp_path / "three.keras", "--out", tmp_path / "a")
    assert status(*command) == 2
    assert "--labels" in capfd.readouterr().err
    assert status(*command, "--labels", "predicted") == 0


def test_what_is_done_is_told_without_a_model(data, run, tmp_path, capfd, monkeypatch):
    command = ("--data", data, "--model", run, "--method", "cam")
    assert status(*command, "--out", tmp_path / "a") == 0
    before = metrics(tmp_path / "a")
    capfd.readouterr()

    def load(_):
        raise AssertionError("nothing is to be done")

    monkeypatch.setattr("fcam_tf.models.load", load)
    assert status(*command, "--out", tmp_path / "a") == 0
    assert metrics(tmp_path / "a") == before
    assert "Loading" not in capfd.readouterr().err


def test_another_model_of_the_same_name_is_refused(data, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_classifier(classes=5).save("net.keras")
    assert status("--data", data, "--model", "net.keras", "--method", "cam", "--out", "a") == 0
    (tmp_path / "link.keras").symlink_to("net.keras")
    for same in (tmp_path / "net.keras", "link.keras"):
        assert status("--data", data, "--model", same, "--method", "cam", "--out", "a") == 0
    first = metrics(tmp_path / "a")["settings"]["model_sha256"]
    assert first == file_sha256("net.keras")
    tiny_classifier(classes=5).save("net.keras")
    capfd.readouterr()
    command = ("--data", data, "--model", "net.keras", "--method", "cam", "--out", "a")
    assert status(*command) == 2
    assert "what --model names has changed" in capfd.readouterr().err
    assert status(*command, "--overwrite") == 0
    assert metrics(tmp_path / "a")["settings"]["model_sha256"] == file_sha256("net.keras") != first


@pytest.mark.parametrize("changed", [{"threshold": 0.123}, {"weights": "0" * 64}])
def test_a_model_of_the_zoo_is_known_by_what_it_answers_by(tmp_path, monkeypatch, changed):
    name = "efficientnetlite_b0_cam"
    first = find_model(name).sha256
    assert first == zoo.identity(name)
    shutil.copytree(zoo.folders()[name], tmp_path / name)  # as one trains it anew
    card = zoo.card(name)
    if "weights" in changed:
        changed = {"weights": {**card["weights"], "sha256": changed["weights"]}}
    (tmp_path / name / "card.json").write_text(json.dumps({**card, **changed}))
    monkeypatch.setenv("FCAM_ZOO", str(tmp_path))
    assert find_model(name).sha256 != first


def test_what_is_done_needs_no_tensorflow(data, run, tmp_path):
    command = ["--data", str(data), "--model", str(run), "--out", str(tmp_path / "a")]
    assert status(*command) == 0
    code = (
        "import sys; from fcam_tf import cli; code = cli.run(['fcam', 'evaluate', *sys.argv[1:]])\n"
        "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    )
    subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True)
