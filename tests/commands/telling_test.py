import argparse

import pytest
from absl import app

from fcam_tf.claim import FolderBusyError
from fcam_tf.commands.arguments import Parser
from fcam_tf.commands.telling import absolute, answer_table, failed, usage_errors
from fcam_tf.data import BrokenPhotoError


@pytest.mark.parametrize(
    ("are_flags", "text"), [(True, "--batch-size is 0, model 1"), (False, "batch_size is 0, model")]
)
def test_arguments_are_named_as_the_command_has_them(are_flags, text, capsys):
    parser = Parser(prog="fcam")
    parser.add("model MODEL", "by its place")
    parser.add("--batch-size N", "a flag")
    with (
        pytest.raises(app.UsageError) as found,
        usage_errors(ValueError, are_flags=are_flags),
    ):
        raise ValueError("`batch_size` is 0, `model` 1")
    with pytest.raises(SystemExit):
        parser.error(str(found.value))
    assert capsys.readouterr().err.startswith(f"fcam: {text}")


def test_other_errors_pass():
    with pytest.raises(TypeError), usage_errors(ValueError, OSError):
        raise TypeError


def test_a_failure_says_that_nothing_is_lost_once_there_is_something(capsys, tmp_path):
    job = argparse.Namespace(out=str(tmp_path / "out"))
    for error, arguments in ((OSError("no way on"), None), (OSError("no way on"), job)):
        assert failed(error, arguments) == 1
        assert capsys.readouterr().err == "fcam: no way on\n"
    (tmp_path / "out" / "parts").mkdir(parents=True)
    assert failed(FolderBusyError("busy"), job) == 1
    assert capsys.readouterr().err == "fcam: busy\n"
    assert failed(ValueError("full [disk]"), job) == 1
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "fcam: full [disk]"
    assert "finished work is kept" in shown[1]


@pytest.mark.parametrize("skip_broken", [False, True])
def test_a_broken_photo_may_be_left_out(capsys, tmp_path, skip_broken):
    (tmp_path / "state.json").touch()
    values = argparse.Namespace(skip_broken=skip_broken, out=tmp_path)
    assert failed(BrokenPhotoError("a.png: cut"), values) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "fcam: a.png: cut"
    assert ("add --skip-broken to skip it" in second) is not skip_broken


def test_errors_of_the_system_name_the_file(capsys):
    failed(OSError(28, "No space left on device", "a.png"))
    failed(OSError(28, "No space left on device"))
    with pytest.raises(app.UsageError, match=r"^b: Is a directory$"), usage_errors(OSError):
        raise IsADirectoryError(21, "Is a directory", "b")
    shown = capsys.readouterr().err
    assert shown == "fcam: a.png: No space left on device\nfcam: No space left on device\n"


def test_names_in_a_table_are_whole_however_narrow(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    answer_table(("name", "what"), [("a_name_of_28_characters_in_all"[:28], "[b] many words here")])
    shown = capsys.readouterr().out
    assert "a_name_of_28_characters_in_a" in shown


def test_no_column_of_figures_is_cut_at_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    heads = ["test, 149 images, %", *(f"efficientnetlite_b{k}_layercam" for k in range(5))]
    answer_table(heads, [["MaxBoxAccV2, threshold of val", *(f"{k}1.25" for k in range(1, 6))]])
    shown = capsys.readouterr().out
    assert all(f"{k}1.25" in shown for k in range(1, 6))
    assert len({len(line) for line in shown.splitlines()}) == 1


def test_headings_are_whole_where_there_is_room(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    answer_table(["%", "efficientnetlite_b0_layercam"], [["PxAP", "1.25"]])
    assert "efficientnetlite_b0_layercam" in capsys.readouterr().out


def test_text_in_a_table_is_no_markup(capsys):
    answer_table(("name", "what"), [("[b]a[/b]", ":cat:")])
    shown = capsys.readouterr().out
    assert "[b]a[/b]" in shown
    assert ":cat:" in shown


def test_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert absolute("here") == str(tmp_path / "here")
    assert absolute("tfds:oxford_iiit_pet") == "tfds:oxford_iiit_pet"
