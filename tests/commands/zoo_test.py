import json
import re
from functools import partial

import pytest

from fcam_tf import cli, zoo
from fcam_tf.data import write_shapes
from tests.zoo.conftest import NAME, built, model, own  # noqa: F401

pytestmark = pytest.mark.usefixtures("own")


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
    assert "no trained model is called like resnet51* or vgg17*" in capfd.readouterr().err
    data = write_shapes(tmp_path / "shapes", {"train": 4, "val": 2, "test": 2}, 48)
    assert status("verify", NAME, "--data", data) == 0
    assert f"{NAME}: as its card says\n  no score on shapes\n" in capfd.readouterr().out


@pytest.mark.parametrize("columns", [80, 60])
def test_a_narrow_terminal_shows_whole_names(columns, monkeypatch, capfd):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    names = zoo.list_models()
    assert max(map(len, names)) > 30
    assert status("list") == 0
    words = re.sub(r"\x1b\[\d*m", "", capfd.readouterr().out).split()
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
    (own / NAME / "model.weights.h5").write_bytes(b"swapped")
    assert status("verify", NAME) == 1
    assert "SHA-256" in capfd.readouterr().err


def test_make_and_measure_again(tmp_path, capfd):
    counts = {"train": 8, "val": 3, "test": 3}
    data = write_shapes(tmp_path / "shapes", counts, 48)
    fast = [
        f"{flag}={value}"
        for value in ("epochs=1", "resize=64", "crop=64", "batch_size=4")
        for flag in ("--set", "--classifier-set")
    ]
    name = "mobilenet_v3_large_layercam.shapes"
    command = ("make", name, "--data", data, "--weights=none", "--licence=Apache-2.0", "--int8")
    assert status(*command, "--runs", tmp_path / "runs", *fast) == 0
    card = zoo.card(name)
    assert card["architecture"]["num_classes"] == 5
    assert {score["metric"] for score in card["scores"]} >= {"PxAP", "MaxBoxAccV2"}
    assert card["recipe"]["crop"] == 64
    assert isinstance(card["threshold"], float)  # chosen, not otsu
    made = card["scores"][0]["command"]
    assert made.startswith(f"fcam zoo make {name} --data {data.name} --weights none ")
    assert made.endswith(" --int8")
    assert {"--set crop=64", "--licence Apache-2.0"} <= set(re.findall(r"--\w+ \S+", made))
    # The scores are those of what is loaded, whose weights were rounded.
    again = zoo.verify_scores(card, zoo.load(name), data)
    assert [score["found"] for score in again] == [score["value"] for score in card["scores"]]
    capfd.readouterr()
    assert status("verify", name) == 0


def test_make_looks_before_it_trains(own, tmp_path, monkeypatch, capfd):  # noqa: F811
    data = write_shapes(tmp_path / "shapes", {"train": 4, "val": 2, "test": 2}, 48)
    monkeypatch.setattr("fcam_tf.models.Classifier", None)  # nothing gets as far
    make = partial(status, "make", "--data", data, "--licence=x", "--weights=none")
    assert make(NAME) == 2
    assert f"{own / NAME} exists" in capfd.readouterr().err
    assert make(f"{NAME}./../../q") == 2
    assert "name must be" in capfd.readouterr().err
    for name in ("cam", "_cam", "resnet50resnet50_cam"):
        assert make(name) == 2
        assert "is no <backbone>_<method>" in capfd.readouterr().err
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
        ((), "say what to do"),
        (("destroy",), "say what to do"),
        (("show",), "name a model"),
        (("show", "resnet51_layercam"), "'resnet50_layercam'"),
        (("verify", "resnet51_layercam"), "'resnet50_layercam'"),
        (("make", "resnet50_cam"), "--data is missing"),
        (("make", "resnet50_cam", "--data=x"), "--licence is missing"),
        (("make", "resnet50_cma", "--data=x", "--licence=x"), "is no <backbone>_<method>"),
        (("make", "resnet50_cam", "--data=nowhere", "--licence=x"), "nowhere"),
    ],
)
def test_wrong_usage(arguments, message, capfd):
    assert status(*arguments) == 2
    assert message in capfd.readouterr().err


def test_other_commands_take_names(tmp_path, capfd):
    from skimage import data, io  # noqa: PLC0415

    io.imsave(tmp_path / "cat.png", data.chelsea(), check_contrast=False)
    command = ("localize", tmp_path / "cat.png", "--model", NAME, "--out", tmp_path / "out")
    assert cli.run(["fcam", *map(str, command)]) == 0
    assert (tmp_path / "out" / "cat_overlay.png").exists()
    capfd.readouterr()
    assert cli.run(["fcam", "localize", str(tmp_path / "cat.png"), f"--model={NAME[:-1]}"]) == 2
    assert f"Did you mean '{NAME}'" in capfd.readouterr().err
