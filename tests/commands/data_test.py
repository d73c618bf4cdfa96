import re

import numpy as np
import pytest
from PIL import Image

from fcam_tf import cli


def check(*arguments):
    return cli.run(["fcam", "data", *map(str, arguments)])


@pytest.fixture
def dataset(tmp_path):
    """Two class folders with a photo each."""
    folder = tmp_path / "set"
    for name in ("cats/a.png", "dogs/b.png"):
        (folder / name).parent.mkdir(parents=True)
        Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(folder / name)
    return folder


def test_a_sound_data_set_is_counted(dataset, capsys):
    assert check("check", dataset) == 0
    output = capsys.readouterr().out
    assert "images" in output
    assert "no problems" in output
    assert [int(n) for n in re.findall(r"\b\d+\b", output)][:5] == [2, 2, 0, 0, 0]
    assert "0 of 2 photos are held out" in " ".join(output.split())


def test_what_is_wrong_is_named(dataset, capsys):
    (dataset / "dogs" / "b.png").write_bytes(b"no image")
    assert check("check", dataset) == 1
    output = capsys.readouterr().out
    assert str(dataset / "dogs" / "b.png") in output
    assert output.endswith("\n1 problem\n")
    (dataset / "cats" / "a.png").write_bytes(b"no image")
    check("check", dataset)
    assert capsys.readouterr().out.endswith("\n2 problems\n")


def test_one_class_is_said_as_training_says_it(dataset, capsys):
    (dataset / "dogs" / "b.png").rename(dataset / "cats" / "b.png")
    (dataset / "dogs").rmdir()
    assert check("check", dataset) == 1
    output = capsys.readouterr().out
    assert f"{dataset}: has one class, 'cats', and a classifier learns to tell" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "fcam data: a command is missing. Available: check"),
        (("check",), "fcam data check: the following arguments are required: DATA"),
        (("clean", "x"), "command is unknown: 'clean'"),
        (("check", "a", "b"), "fcam data check: unrecognized arguments: b"),
    ],
)
def test_wrong_usage(arguments, message, capfd):
    assert check(*arguments) == 2
    assert message in capfd.readouterr().err


def test_a_folder_that_is_no_data_set(tmp_path):
    assert check("check", tmp_path / "nowhere") == 2
