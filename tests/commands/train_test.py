import csv
import dataclasses
import json
import os
import shutil
import subprocess
import sys

import keras
import pytest

from fcam_tf import baselines, cli, models, training
from fcam_tf.data import write_shapes
from fcam_tf.identity import file_sha256
from tests.commands.conftest import TRAINED
from tests.models.tiny import tiny_classifier

FAST = ("--set", "epochs=1", "--set", "batch_size=5", "--set", "resize=36", "--set", "crop=32")


pytestmark = pytest.mark.usefixtures("plain_report")


def status(*arguments):
    return cli.run(["fcam", "train", *map(str, arguments)])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_shapes(
        tmp_path_factory.mktemp("data") / "shapes", {"train": 10, "val": 5, "test": 4}, 48
    )


def test_a_run_by_a_reduced_list_is_not_taken_for_one_by_another(tmp_path, tiny, capfd):
    root = write_shapes(tmp_path / "shapes", {"train": 10, "val": 5}, 48)
    listed = root / "metadata/train/image_ids_proxy.txt"
    ids = (root / "metadata/train/image_ids.txt").read_text().split()
    listed.write_text("\n".join(ids[:5]))
    flags = ("--data", root, "--model", tiny, *FAST, "--set=proxy=true", "--out", tmp_path / "out")
    assert status("classifier", *flags) == 0
    listed.write_text("\n".join(ids[:6]))
    assert status("classifier", *flags) == 2
    assert "train.images was 5 and is now 6" in capfd.readouterr().err


@pytest.mark.usefixtures("no_report")
def test_photos_written_anew_are_told_where_the_run_is_finished(tmp_path, tiny):
    root = write_shapes(tmp_path / "shapes", {"train": 10, "val": 5}, 48)
    flags = ("--data", root, "--model", tiny, *FAST, "--set=epochs=0", "--out", tmp_path / "out")
    for _ in range(2):
        assert status("classifier", *flags) == 0
    os.utime(next((root / "images").rglob("*.png")), ns=(1, 1))
    with pytest.warns(UserWarning, match="Photos or masks have been rewritten"):
        assert status("classifier", *flags) == 0


def test_so_few_photos_that_none_is_held_out(tmp_path, tiny, data, capfd):
    photos = sorted((data / "images").rglob("*.png"))
    for index in range(5):
        (tmp_path / "few" / str(index)).mkdir(parents=True)
        shutil.copy(photos[index], tmp_path / "few" / str(index))
    out = tmp_path / "out"
    flags = ("--data", tmp_path / "few", "--model", tiny, "--recipe=small", *FAST, "--out", out)
    assert status("classifier", *flags) == 0
    shown = capfd.readouterr()
    assert "0 of 5 photos are held out" in shown.err
    assert f"model in {out}/best.keras" in shown.err
    assert ", val, %" not in shown.out


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.keras"
    keras.utils.set_random_seed(0)
    tiny_classifier(classes=5).save(path)
    return path


@pytest.fixture
def no_report(monkeypatch):
    monkeypatch.setattr("fcam_tf.training.report", lambda *_, **__: None)


@pytest.mark.usefixtures("no_report")
def test_what_is_asked_reaches_the_training(data, tiny, tmp_path, trainings, capfd):
    """`test_both_stages` trains; tests/training/stages_test.py goes on from here."""
    first, second = tmp_path / "a", tmp_path / "b"
    flags = ("--weights=none", "--output-stride=16", "--method=adl", "--strategy=mirrored")
    assert status("classifier", "--data", data, "--out", first, *flags, *FAST) == 0
    out, err = capfd.readouterr()
    assert "MaxBoxAcc" in out
    assert f"fcam train fcam --data {data} --model {first} --out {first}-fcam --recipe cub" in err
    cams = ("--cams", tmp_path, "--recipe=small", "--set", "loss.erosion=3", "--set", "cams=stored")
    command = ("fcam", "--data", data, "--model", tiny, "--out", second, *FAST, *cams)
    assert status(*command) == 0
    assert status("fsl", "--data", data, "--model=resnet50", "--out", tmp_path / "c") == 2  # 1 each
    classifier, fcam = trainings
    assert (classifier.stage, classifier.images, classifier.out) == ("classifier", [10, 5], "a")
    start = training.Start("efficientnetlite_b0", "adl", 16, "none", None, mirrored=True)
    assert classifier.start == dataclasses.replace(start, weights_identity="none")
    assert (classifier.recipe.epochs, classifier.recipe.crop) == (1, 32)
    assert (fcam.stage, fcam.start.cams, fcam.recipe.loss["erosion"]) == ("fcam", str(tmp_path), 3)
    assert fcam.start.model_sha256 == file_sha256(tiny)
    assert fcam.start.model().output_shape == (None, 5)
    # The same again is known, and nothing is trained; with more GPUs it is trained.
    assert status(*command) == 0
    assert len(trainings) == 2
    assert status(*command, "--strategy=mirrored") == 0
    assert len(trainings) == 3


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--weights=none", "--weights is for a backbone given by name, and --model is "),
        ("--output-stride=8", "--output-stride is for a backbone given by name"),
        ("--set=baseline.drop_rate=0.3", "settings of a method that changes how a classifier"),
        ("--cams=maps", "--cams is the folder of stored maps, and classifier trains without"),
    ],
)
def test_flags_that_would_do_nothing(data, tiny, tmp_path, capfd, flag, message):
    command = ("classifier", "--data", data, "--model", tiny, "--out", tmp_path / "a", *FAST)
    assert status(*command, flag) == 2
    assert message in capfd.readouterr().err


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    ("stage", "select", "remedy"),
    [
        ("classifier", "MaxBoxAcc", "select=accuracy"),
        ("classifier", "accuracy", "another --set learning_rate"),
        ("fcam", "MaxBoxAcc", "another --set learning_rate"),
    ],
)
def test_says_what_was_not_gained(data, tiny, tmp_path, trainings, capfd, stage, select, remedy):
    seeds = {"seeds_loss": 0.69} if stage == "fcam" else {}
    start = {"epoch": 0.0, f"val_{select}": 30.0}
    trainings.history = [start, {"epoch": 1.0, f"val_{select}": 20.0, **seeds}]
    command = (stage, "--data", data, "--model", tiny, "--out", tmp_path / "a", *FAST)
    assert status(*command, "--set", f"select={select}") == 0
    message = capfd.readouterr().err
    assert f"{select} never rose above its value before training" in message
    assert f"try more epochs or {'' if remedy[0] == 'a' else '--set '}{remedy}\n" in message
    assert ("the seed loss ended at 0.69" in message) == (stage == "fcam")


def test_a_training_that_diverges(data, tiny, tmp_path, capfd, monkeypatch):
    def train(*_, **__):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "run.json").touch()
        raise training.TrainingDivergedError("the loss is NaN; the run keeps epoch 0")

    monkeypatch.setattr("fcam_tf.training.train", train)
    assert status("fcam", "--data", data, "--model", tiny, "--out", tmp_path / "a", *FAST) == 1
    err = capfd.readouterr().err
    assert "fcam: the loss is NaN; the run keeps epoch 0\n" in err
    assert "the same command resumes from there" in err


def test_an_fcam_is_no_classifier(data, tmp_path, capfd):
    model = models.FCAM.from_classifier(tiny_classifier(classes=5), decoder_filters=(4, 4, 4))
    model.save(tmp_path / "a.keras")
    command = ("classifier", "--data", data, "--model", tmp_path / "a.keras", "--out")
    assert status(*command, tmp_path / "b", *FAST) == 2
    message = "must be a classifier. Received an F-CAM: name the model that it was made from"
    assert message in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.traced
def test_both_stages(data, tiny, tmp_path, capfd):
    first, second = tmp_path / "a", tmp_path / "b"
    assert status("classifier", "--data", data, "--model", tiny, "--out", first, *FAST) == 0
    out, err = capfd.readouterr()
    assert "MaxBoxAccV2" in out
    sizes = [text for text in FAST if "crop" in text or "resize" in text]
    expected = (
        f"fcam train fcam --data {data} --model {first} --out {first}-fcam --recipe cub --set "
    )
    assert expected + " --set ".join(sizes) in " ".join(err.split())
    options = ("--set", "select=PxAP", "--set", "loss.erosion=3", "--method", "gradcam")
    command = ("fcam", "--data", data, "--model", first, "--out", second, *FAST, *options)
    assert status(*command) == 0
    about = json.loads((second / "run.json").read_text())["settings"]
    assert (about["stage"], about["method"]) == ("fcam", "gradcam")
    assert (about["recipe"]["epochs"], about["recipe"]["loss"]) == (1, {"erosion": 3})
    assert about["replicas"] == 1
    with (second / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]
    assert models.load(second).method == "gradcam"
    for out, method in ((first, "cam"), (second, "fcam")):
        found = json.loads((out / "test" / "metrics.json").read_text())
        assert (found["settings"]["method"], found["details"]["images"]) == (method, 4)
        assert (out / "test" / "report.html").exists()
    # A test split that has changed is scored again; one that is broken does not hide the model.
    report = second / "test" / "metrics.json"
    boxes = data / "metadata" / "test" / "localization.txt"
    text = boxes.read_text()
    report.unlink()
    boxes.write_text(text + "\n" + text.splitlines()[0])
    assert status(*command) == 0
    assert report.exists()
    boxes.write_text(text.splitlines()[0])
    assert status(*command) == 1
    assert "the model is finished, but its report failed: 3 of 4 images" in capfd.readouterr().err
    boxes.write_text(text)
    # The same command again has nothing to do, for which it needs no TensorFlow.
    assert status(*command) == 0
    stamps = {path: path.stat().st_mtime_ns for path in (second / "state.json", report)}
    code = (
        "import sys; from fcam_tf import cli; code = cli.run(['fcam', 'train', *sys.argv[1:]])\n"
        "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    )
    arguments = [sys.executable, "-c", code, *map(str, command)]
    again = subprocess.run(arguments, check=True, capture_output=True, text=True)
    assert "1 epoch," in again.stdout
    assert "report on the test split" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    # `fcam evaluate` goes on with the report, as it has the same settings.
    evaluate = ("evaluate", "--data", data, "--model", second, "--out", second / "test")
    assert cli.run(["fcam", *map(str, evaluate)]) == 0
    parts = list((second / "test" / "parts").iterdir())
    assert all(part.stat().st_mtime_ns < report.stat().st_mtime_ns for part in parts)
    about = json.loads(report.read_text())["settings"]
    assert about["model_sha256"] == file_sha256(second / "best.keras")
    # Another model in the first folder is another start.
    tiny_classifier(classes=5).save(first / "best.keras")
    assert status(*command) == 2
    assert "what --model names has changed" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("small_backbones", "undrawn")
def test_the_map_that_is_reported_is_the_one_that_selected(tmp_path):
    """On 15 shapes, which choose the epoch and are then the test split as well."""
    data = write_shapes(tmp_path / "shapes", {"train": 15, "val": 15, "test": 15}, 224)
    shutil.rmtree(data / "metadata" / "test")
    shutil.copytree(data / "metadata" / "val", data / "metadata" / "test")
    arguments = ("--data", data, "--method", "layercam", "--out", tmp_path / "a")
    few = ("--recipe", "small", "--set", "epochs=1", "--set", "resize=224", "--set", "select=PxAP")
    assert status("classifier", *arguments, *few) == 0
    assert json.loads((tmp_path / "a" / "run.json").read_text())["settings"]["layer"] == "P5"
    with (tmp_path / "a" / "metrics.csv").open() as file:
        selected = max(float(row["val_PxAP"]) for row in csv.DictReader(file))
    reported = json.loads((tmp_path / "a" / "test" / "metrics.json").read_text())
    assert (reported["settings"]["method"], reported["settings"]["layer"]) == ("layercam", "P5")
    assert reported["PxAP"] == pytest.approx(selected, abs=1e-9)
    # What `fcam evaluate` measures by that name is the same map, and so is the teacher's.
    evaluate = ("fcam", "evaluate", "--data", str(data), "--model", str(tmp_path / "a"), "--out")
    assert cli.run([*evaluate, str(tmp_path / "b"), "--method", "layercam"]) == 0
    again = json.loads((tmp_path / "b" / "metrics.json").read_text())
    assert (again["PxAP"], again["settings"]["layer"]) == (reported["PxAP"], "P5")
    # Where no method is named, it is what `fcam localize` shows, which is another map.
    assert cli.run([*evaluate, str(tmp_path / "c")]) == 0
    other = json.loads((tmp_path / "c" / "metrics.json").read_text())
    assert (other["settings"]["method"], other["settings"]["layer"]) == ("layercam", "P4,P5")
    assert abs(other["PxAP"] - reported["PxAP"]) > 1
    model = models.FCAM.from_classifier(models.load(tmp_path / "a"), method="layercam")
    assert model.teacher.layers == ("P5",)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_says_that_nothing_was_gained(data, tiny, tmp_path, capfd):
    still = ("--set", "learning_rate=0", "--set", "weight_decay=0")
    for stage in ("classifier", "fcam"):
        command = (stage, "--data", data, "--model", tiny, "--out", tmp_path / stage, *FAST, *still)
        assert status(*command) == 0
        message = " ".join(capfd.readouterr().err.split())
        assert "never rose above its value before training" in message
        assert ("the seed loss ended at 0." in message) == (stage == "fcam")


@pytest.mark.slow
@pytest.mark.usefixtures("small_backbones", "undrawn")
def test_backbones_by_name(data, tmp_path):
    arguments = ("--model", "mobilenet_v3_large", "--weights", "none", "--output-stride", "16")
    assert status("classifier", "--data", data, "--out", tmp_path / "a", *arguments, *FAST) == 0
    model = models.load(tmp_path / "a")
    assert (model.backbone, model.output_stride, model.num_classes) == ("mobilenet_v3_large", 16, 5)
    assert len(model.class_names) == 5


@pytest.mark.slow
@pytest.mark.usefixtures("small_backbones", "undrawn")
def test_a_baseline_by_name_teaches_by_its_own_map(data, tmp_path, capfd):
    first, second = tmp_path / "a", tmp_path / "b"
    arguments = ("--weights", "none", "--method", "acol", "--set", "baseline.threshold=0.6")
    command = ("classifier", "--data", data, "--out", first, *arguments, *FAST)
    assert status(*command, "--set", "baseline.filters=4") == 0
    assert models.load(first).baseline == baselines.ACoL(threshold=0.6, filters=4)
    assert json.loads((first / "test" / "metrics.json").read_text())["settings"]["method"] == "acol"
    assert status("fcam", "--data", data, "--model", first, "--out", second, *FAST) == 0
    assert models.load(second).method == "acol"
    exported = tmp_path / "exported" / "1"
    assert cli.run(["fcam", "export", str(second), str(exported)]) == 0
    capfd.readouterr()
    wrong = ("--method", "cam", "--set", "baseline.threshold=0.6")
    assert status("classifier", "--data", data, "--out", tmp_path / "c", *wrong, *FAST) == 2
    assert "method is cam" in capfd.readouterr().err
    wrong = ("--method", "acol", "--set", "baseline.treshold=0.6")
    assert status("classifier", "--data", data, "--out", tmp_path / "c", *wrong, *FAST) == 2
    assert "Did you mean 'threshold'" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("decoder", ["unet", "linear"])
def test_full_supervision_by_a_few_images(data, tiny, tmp_path, decoder):
    arguments = ("--model", tiny, "--recipe", "small", "--set", f"decoder={decoder}")
    assert status("fsl", "--data", data, "--out", tmp_path / "a", *arguments, *FAST) == 2  # 1 each
    more = write_shapes(tmp_path / "more", {"train": 5, "val": 15, "test": 4}, 48)
    assert status("fsl", "--data", more, "--out", tmp_path / "a", *arguments, *FAST) == 0
    model = models.load(tmp_path / "a")
    assert bool(model.decoder_filters) == (decoder == "unet")
    about = json.loads((tmp_path / "a" / "run.json").read_text())["settings"]
    assert (about["train"]["images"], about["validation"]["images"]) == (10, 5)
    with (tmp_path / "a" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["masks_loss"]) == pytest.approx(float(rows[1]["loss"]), rel=1e-5)
    assert (tmp_path / "a" / "test" / "report.html").exists()


@pytest.mark.parametrize("trainings", ["told", TRAINED], indirect=True)
def test_data_without_boxes(data, tiny, tmp_path, trainings, capfd):
    plain = tmp_path / "plain"
    for name in ("train", "val"):
        for split_line in (data / "metadata" / name / "class_labels.txt").read_text().split():
            image, label = split_line.split(",")
            target = plain / name / f"class{label}" / image.replace("/", "_")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(next(data.rglob(image)), target)
    run = ("classifier", "--data", plain, "--model", tiny, "--out", tmp_path / "a", *FAST)
    assert status(*run) == 0
    assert "the epoch of the best accuracy will be kept" in capfd.readouterr().err
    assert [asked.recipe.select for asked in trainings] == ["accuracy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "required: STAGE, -o/--out, -d/--data"),
        (("both", "--data=a", "--out=b"), "classifier, fcam, fsl"),
        (("fcam", "--data=a", "--out=b"), "--model is missing"),
        (("classifier", "--data=a"), "required: -o/--out"),
        (("classifier", "--data={data}", "--out={out}", "--recipe=cup"), "cub"),
        (("classifier", "--data={data}", "--out={out}", "--set=epoch=1"), "epochs"),
        (("classifier", "--data={out}", "--out={out}"), "not a folder"),
        (("classifier", "--data={data}", "--out={out}", "--model=resnet51"), "resnet50"),
        (("fcam", "--data={data}", "--out={out}", "--model={out}.keras"), "no such file"),
        (("fcam", "--data={data}", "--out={out}", "--model={tiny}", "--method=cma"), "cam"),
        (("fsl", "--data={data}", "--out={out}", "--set=loss.masks=0"), "must be above 0"),
        (("classifier", "--data={data}", "--out={out}", "--model={tiny}", "--method=adl"), "adl"),
    ],
)
def test_wrong_usage(data, tiny, tmp_path, arguments, message, capfd):
    out = tmp_path / "out"
    assert status(*(a.format(data=data, out=out, tiny=tiny) for a in arguments)) == 2
    assert message in capfd.readouterr().err


@pytest.mark.slow
def test_divergence(data, tiny, tmp_path, capfd):
    out = tmp_path / "out"
    arguments = ("--data", data, "--model", tiny, "--out", out, "--set", "learning_rate=1e30")
    assert status("fcam", *arguments, *FAST) == 1
    err = capfd.readouterr().err
    assert "keeps epoch 0" in err
    assert "Traceback" not in err


TWO = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}'


@pytest.mark.parametrize(
    ("strategy", "config", "message"),
    [
        ("single", TWO, "TF_CONFIG names 2 workers, and --strategy single would train on each"),
        ("mirrored", TWO, "add --strategy multiworker, or unset TF_CONFIG"),
        ("multiworker", "", "--strategy multiworker needs the environment variable TF_CONFIG"),
        ("single", "two", "TF_CONFIG must name workers and which of them this is"),
    ],
)
def test_several_machines_never_train_alone(
    data, tiny, tmp_path, monkeypatch, capfd, strategy, config, message
):
    monkeypatch.setenv("TF_CONFIG", config)
    out = tmp_path / "out"
    command = ("classifier", "--data", data, "--model", tiny, "--out", out, *FAST)
    assert status(*command, "--strategy", strategy) == 2
    assert message in capfd.readouterr().err
    assert not out.exists()
