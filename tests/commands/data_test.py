import re

import numpy as np
import pytest
from PIL import Image

from fcam_tf import cli


def check(*arguments):
    return cli.run(["fcam", "data", *map(str, arguments)])


@pytest.fixture
def dataset(tmp_path):
    """One class folder with two photos."""
    folder = tmp_path / "set" / "cats"
    folder.mkdir(parents=True)
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(folder / name)
    return folder.parent


def test_a_sound_data_set_is_counted(dataset, capsys):
    assert check("check", dataset) == 0
    output = capsys.readouterr().out
    assert "images" in output
    assert "nothing is wrong" in output
    assert [int(n) for n in re.findall(r"\b\d+\b", output)][:5] == [2, 1, 0, 0, 0]
    assert "0 of 2 photos are held out" in " ".join(output.split())


def test_what_is_wrong_is_named(dataset, capsys):
    (dataset / "cats" / "b.png").write_bytes(b"no image")
    assert check("check", dataset) == 1
    output = capsys.readouterr().out
    assert str(dataset / "cats" / "b.png") in output
    assert output.endswith("\n1 problem\n")
    (dataset / "cats" / "a.png").write_bytes(b"no image")
    check("check", dataset)
    assert capsys.readouterr().out.endswith("\n2 problems\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "fcam data: say what to do: check"),
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
