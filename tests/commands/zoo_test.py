import dataclasses
import json
import re
from functools import partial
from types import SimpleNamespace

import pytest

from fcam_tf import cli, training, zoo
from fcam_tf.data import write_shapes
from fcam_tf.models import FCAM
from tests.zoo.conftest import NAME, built, model, own, saved  # noqa: F401

pytestmark = pytest.mark.usefixtures("own", "plain_report")


def status(*arguments):
    return cli.run(["fcam", "zoo", *map(str, arguments)])


def test_list_and_show(capfd):
    assert status("list", "mobilenet*") == 0
    assert capfd.readouterr().out == f"{NAME}\t3 classes\t\tnothing\n"
    assert status("show", NAME) == 0
    shown = json.loads(capfd.readouterr().out)
    assert shown["architecture"]["class_names"] == ["a", "b", "c"]


def test_what_there_is_none_of(tmp_path, capfd):
    assert status("list", "resnet51*", "vgg17*") == 1
    assert "no trained model matches resnet51* or vgg17*" in capfd.readouterr().err
    data = write_shapes(tmp_path / "shapes", {"train": 4, "val": 2, "test": 2}, 48)
    assert status("verify", NAME, "--data", data) == 0
    assert f"{NAME}: as its card says\n  no score on shapes\n" in capfd.readouterr().out


@pytest.mark.parametrize("columns", [80, 60])
def test_a_narrow_terminal_shows_whole_names(columns, monkeypatch, capfd):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    names = zoo.list_models()
    assert max(map(len, names)) > 30
    assert status("list") == 0
    words = capfd.readouterr().out.split()
    assert set(names) <= set(words)


@pytest.mark.parametrize(
    "command",
    [
        ("zoo", "verify", "efficientnetlite_b0_adl"),
        ("localize", "p.png", "--model", "efficientnetlite_b0_adl"),
        ("evaluate", "--data=x", "--out=y", "--model", "efficientnetlite_b0_adl"),
        ("export", "efficientnetlite_b0_adl", "z"),
        ("train", "fcam", "--data=x", "--out=y", "--model", "efficientnetlite_b0_adl"),
    ],
)
def test_no_command_answers_by_an_untrained_model(command, capfd):
    assert cli.run(["fcam", *command]) == 2
    line = "fcam zoo make efficientnetlite_b0_adl --data DATA --licence LICENCE"
    assert f"has not been trained: its answers would be random. Train it with `{line}`" in (
        capfd.readouterr().err
    )


def test_what_is_known_of_an_untrained_model(capfd):
    assert status("show", "vgg16_adl") == 0
    card = json.loads(capfd.readouterr().out)
    assert (card["status"], card["architecture"]["baseline"]) == ("untrained", "adl")


def test_text_of_a_card_is_no_markup(own, capfd):  # noqa: F811
    path = own / NAME / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "trained_on": "[/b] :cat:"}))
    assert status("list", NAME) == 0
    assert "[/b] :cat:" in capfd.readouterr().out


def test_verify(own, capfd):  # noqa: F811
    assert status("verify", NAME) == 0
    assert f"{NAME}: as its card says" in capfd.readouterr().out
    path = own / NAME / "card.json"
    card = json.loads(path.read_text())
    card["check"]["logits"][0] += 1
    path.write_text(json.dumps(card))
    assert status("verify", NAME) == 1
    assert "logits differ by 1" in capfd.readouterr().err
    (own / NAME / "weights.safetensors").write_bytes(b"swapped")
    assert status("verify", NAME) == 1
    assert "is not the file that its card describes" in capfd.readouterr().err


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    counts = {"train": 8, "val": 15, "test": 3}
    return write_shapes(tmp_path_factory.mktemp("data") / "shapes", counts, 48)


FAST = [
    f"{flag}={value}"
    for value in ("epochs=1", "resize=64", "crop=64", "batch_size=4")
    for flag in ("--set", "--classifier-set")
]


@pytest.mark.slow
@pytest.mark.usefixtures("small_backbones", "undrawn")
def test_make_and_measure_again(shapes, tmp_path, monkeypatch, capfd):
    name = "mobilenet_v3_large_layercam.shapes"
    command = ("make", name, "--data", shapes, "--weights=none", "--licence=Apache-2.0", "--int8")
    command = (*command, "--output-stride=32", "--runs", tmp_path / "runs", *FAST)

    def full(*_, **__):
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("fcam_tf.zoo.pack.pack", full)
        assert status(*command) == 1
    told = capfd.readouterr().err
    assert "the disk is full" in told
    runs = [tmp_path / "runs" / f"{name}{end}" for end in ("-classifier", "")]
    assert told.count("report on the test split in") == 2
    assert all((run / "test" / "report.html").exists() for run in runs)
    stamps = [(run / "state.json").stat().st_mtime_ns for run in runs]
    assert status(*command) == 0  # goes on with what is trained
    assert [(run / "state.json").stat().st_mtime_ns for run in runs] == stamps
    card = zoo.card(name)
    assert (card["architecture"]["num_classes"], card["architecture"]["output_stride"]) == (5, 32)
    assert {score["metric"] for score in card["scores"]} >= {"PxAP", "MaxBoxAccV2"}
    assert card["recipe"]["crop"] == 64
    assert card["trained_on"] == "shapes, 8 images"
    assert isinstance(card["threshold"], float)  # chosen, not otsu
    made = card["scores"][0]["command"]
    assert made.startswith(f"fcam zoo make {name} --data {shapes.name} --weights none ")
    assert made.endswith(" --int8")
    assert {"--set crop=64", "--licence Apache-2.0"} <= set(re.findall(r"--\w+ \S+", made))
    # The scores are those of what is loaded, whose weights were rounded.
    again = zoo.verify_scores(card, zoo.load(name), shapes)
    for score in again:
        assert score["found"] == pytest.approx(score["value"], abs=0.006)
    # Runs of another stride are not gone on with.
    other = [a if a != "--output-stride=32" else "--output-stride=16" for a in command]
    assert status(*other, "--replace") == 2
    assert "--output-stride was 32 before, and is 16 now, the model has" in capfd.readouterr().err


@pytest.fixture
def measured(monkeypatch):
    """Let maps of any model be half right: tests/zoo/pack_test.py measures them."""
    monkeypatch.setattr("fcam_tf.zoo.pack.best_threshold", lambda *_: 0.5)
    monkeypatch.setattr("fcam_tf.zoo.pack._measure", lambda *_: {"PxAP": 50.0})


@pytest.fixture
def trained(model, measured, tmp_path, monkeypatch):  # noqa: F811
    """Train and measure nothing: note what is asked for, and take the zoo's model for it."""
    del measured
    model.save(tmp_path / "best.keras")
    asked = []

    def train(stage, start, recipe, splits, out):
        asked.append((stage, start, recipe, [len(split) for split in splits], out.name))
        state = SimpleNamespace(best=1, epoch=1, history=[{}, {}])
        settings = {"recipe": dataclasses.asdict(recipe)}
        return SimpleNamespace(best=tmp_path / "best.keras", state=state, settings=settings)

    monkeypatch.setattr("fcam_tf.training.train", train)
    monkeypatch.setattr("fcam_tf.training.report", lambda *_: None)
    return asked


def make(name, shapes, *flags, fast=FAST):
    return status("make", name, "--data", shapes, "--licence=x", *fast, *flags)


def test_make_trains_as_train_does(shapes, trained, tmp_path):
    """All that is asked of a training reaches it: tests/training/stages_test.py goes on there."""
    flags = (
        *("--classifier-set=mixed_precision=true", "--classifier-set=baseline.threshold=0.6"),
        *("--set=cams=stored", "--cams", tmp_path, "--output-stride=16", "--weights=none"),
        "--strategy=mirrored",
    )
    name = "efficientnetlite_b0_acol"
    assert make(name, shapes, *flags) == 0
    (stage, start, recipe, images, out), (stage2, start2, recipe2, images2, out2) = trained
    assert (stage, images, out) == ("classifier", [8, 15], f"{name}-classifier")
    assert start == training.Start("efficientnetlite_b0", "acol", 16, "none", str(tmp_path), True)
    assert (recipe.mixed_precision, recipe.baseline, recipe.crop) == (True, {"threshold": 0.6}, 64)
    assert (stage2, images2, out2) == ("fcam", [8, 15], name)
    assert start2 == dataclasses.replace(start, model=start2.model)
    assert isinstance(start2.model(), FCAM)  # the run before it
    assert (recipe2.cams, recipe2.mixed_precision) == ("stored", False)


def test_make_full_supervision(shapes, trained, capfd):
    """Recipe small freezes the classifier, which is trained first; cub trains all at once."""
    assert make("mobilenet_v3_large_fsl", shapes, "--recipe=small", "--set=decoder=linear") == 0
    assert [(stage, start.method, images) for stage, start, _, images, _ in trained] == [
        ("classifier", None, [8, 15]),
        ("fsl", None, [10, 5]),
    ]
    card = zoo.card("mobilenet_v3_large_fsl")
    assert (card["recipe"]["loss"]["masks"], card["trained_on"]) == (1, "shapes, 10 images")
    trained.clear()
    assert make("mobilenet_v3_large_fsl.cub", shapes) == 2
    assert "--classifier-set: this recipe trains all layers at once" in capfd.readouterr().err
    assert make("mobilenet_v3_large_fsl.cub", shapes, fast=FAST[::2]) == 0
    assert [(stage, start.model) for stage, start, *_ in trained] == [("fsl", "mobilenet_v3_large")]


def test_a_setting_that_does_not_fit_is_told_by_the_flag_of_its_stage(shapes, monkeypatch, capfd):
    def train(*_):
        raise training.SettingError("`select` must be another one.", "select=PxAP")

    monkeypatch.setattr("fcam_tf.training.train", train)
    for method, flag in (("cam", "--classifier-set"), ("fsl", "--set")):
        assert make(f"mobilenet_v3_large_{method}.cub", shapes, fast=FAST[::2]) == 2
        assert f"select must be another one. In a command: {flag} select=PxAP." in (
            capfd.readouterr().err
        )


@pytest.mark.usefixtures("measured")
def test_a_finished_run_is_packed_as_it_is(shapes, tmp_path, model, capfd):  # noqa: F811
    settings = {"recipe": {"epochs": 7}, "train": {"images": 70}}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps({"settings": settings}))
    model.save(tmp_path / "run" / "best.keras")
    name = f"{NAME}.s"
    command = ("make", name, "--data", shapes, "--licence=x", "--run", tmp_path / "run")
    assert status(*command, "--test", shapes) == 0
    card = zoo.card(name)
    assert (card["recipe"], card["trained_on"]) == ({"epochs": 7}, "shapes, 70 images")
    made = f"fcam zoo make {name} --data shapes --test shapes --run run --licence x"
    assert {score["command"] for score in card["scores"]} == {made}
    model.classifier.save(tmp_path / "run" / "best.keras")
    assert status(*command, "--replace") == 2
    assert f"run must hold {NAME}. Received:" in capfd.readouterr().err
    assert zoo.card(name) == card


@pytest.mark.usefixtures("measured")
def test_a_file_is_packed_with_what_it_does_not_tell(own, shapes, tmp_path, model, capfd):  # noqa: F811
    file = tmp_path / "model.keras"
    model.save(file)
    (tmp_path / "how.json").write_text('{"classifier": {"steps": 1050}}')
    command = ("make", NAME, "--run", file, "--data", shapes, "--licence=x", "--replace")
    assert status(*command) == 2
    assert "--trained-on is missing" in capfd.readouterr().err
    about = ("--trained-on=photos", "--command=train it", "--recipe", tmp_path / "how.json")
    assert status(*command, *about) == 0
    card = zoo.card(NAME)
    assert (card["trained_on"], card["recipe"]) == ("photos", {"classifier": {"steps": 1050}})
    assert {score["command"] for score in card["scores"]} == {"train it"}
    assert status("make", "mobilenet_v3_large_adl", *command[2:], *about) == 2
    assert "is not a <backbone>_<method>" in capfd.readouterr().err
    assert status("make", "mobilenet_v3_large_gradcam", *command[2:], *about) == 2
    assert f"Received: {file}, mobilenet_v3_large_cam" in capfd.readouterr().err
    assert status("make", NAME, "--run", tmp_path / "gone", *command[4:], *about) == 2
    unused = ("--set", "epochs=1", "--weights", "none")
    assert status(*command, *about, *unused) == 2
    assert "leave out --set, --weights" in capfd.readouterr().err
    assert [path.name for path in own.iterdir()] == [NAME]


def test_make_looks_before_it_trains(own, tmp_path, monkeypatch, capfd):  # noqa: F811
    data = write_shapes(tmp_path / "shapes", {"train": 4, "val": 2, "test": 2}, 48)
    monkeypatch.setattr("fcam_tf.training.train", None)  # nothing gets as far
    make = partial(status, "make", "--data", data, "--licence=x", "--weights=none")
    assert make(NAME) == 2
    assert f"{own / NAME} exists" in capfd.readouterr().err
    assert make(f"{NAME}./../../q") == 2
    assert "name must be" in capfd.readouterr().err
    for name in ("cam", "_cam", "resnet50resnet50_cam"):
        assert make(name) == 2
        assert "is not a <backbone>_<method>" in capfd.readouterr().err
    monkeypatch.setenv("FCAM_ZOO", "https://zoo.example")
    assert make(NAME) == 2
    assert "on this machine" in capfd.readouterr().err
    assert make(NAME, "--out", tmp_path / "own") == 2
    assert "exists" in capfd.readouterr().err


def test_a_bad_card_stops_nothing(own, capfd):  # noqa: F811
    (own / "broken_cam").mkdir()
    (own / "broken_cam" / "card.json").write_text("{")
    assert status("list", "mobilenet*", "broken*") == 1
    told = capfd.readouterr()
    assert NAME in told.out
    assert "fcam: broken_cam: " in told.err
    assert status("verify", "broken_cam", NAME) == 1
    told = capfd.readouterr()
    assert f"{NAME}: as its card says" in told.out
    assert "fcam: broken_cam: " in told.err


def test_verify_needs_the_truth_that_was_measured(own, tmp_path, capfd):  # noqa: F811
    path = own / NAME / "card.json"
    card = json.loads(path.read_text())
    score = {"split": "test", "metric": "PxAP", "value": 50.0, "command": "none"}
    path.write_text(json.dumps({**card, "scores": [{"data": "shapes", **score}]}))
    data = write_shapes(tmp_path / "shapes", {"train": 4, "val": 2, "test": 2}, 48)
    (data / "metadata" / "test" / "localization_masks.txt").unlink()
    assert status("verify", NAME, "--data", data) == 1
    assert f"cannot measure PxAP of {NAME}" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "a command is missing. Available: list"),
        (("destroy",), "list, show, verify, make"),
        (("show",), "required: NAME"),
        (("show", "resnet51_layercam"), "'resnet50_layercam'"),
        (("verify", "resnet51_layercam"), "'resnet50_layercam'"),
        (("make", "resnet50_cam"), "required: -d/--data"),
        (("make", "resnet50_cam", "--data=x"), "required: --licence"),
        (("make", "resnet50_cma", "--data=x", "--licence=x"), "is not a <backbone>_<method>"),
        (("make", "resnet50_cam", "--data=nowhere", "--licence=x"), "nowhere"),
    ],
)
def test_wrong_usage(arguments, message, capfd):
    assert status(*arguments) == 2
    assert message in capfd.readouterr().err


def test_other_commands_take_names(own, tmp_path, capfd):  # noqa: F811
    from skimage import data, io  # noqa: PLC0415

    io.imsave(tmp_path / "cat.png", data.chelsea(), check_contrast=False)
    command = ("localize", tmp_path / "cat.png", "--model", NAME, "--out", tmp_path / "out")
    assert cli.run(["fcam", *map(str, command)]) == 0
    assert (tmp_path / "out" / "cat_overlay.png").exists()
    path = own / NAME / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "threshold": 0.75}))
    capfd.readouterr()
    assert cli.run(["fcam", *map(str, command)]) == 2  # the same weights give other boxes
    assert "what --model names has changed" in capfd.readouterr().err
    assert cli.run(["fcam", "localize", str(tmp_path / "cat.png"), f"--model={NAME[:-1]}"]) == 2
    assert f"Did you mean '{NAME}'" in capfd.readouterr().err
