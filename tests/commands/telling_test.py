import pytest
from absl import app, flags

from fcam_tf.commands.telling import absolute, console, failed, require, usage_errors


@pytest.mark.parametrize(("prefix", "text"), [("--", "--batch-size"), ("", "batch-size")])
def test_arguments_are_named_as_flags(prefix, text):
    with (
        pytest.raises(app.UsageError, match=f"^{text} is 0$"),
        usage_errors(ValueError, prefix=prefix),
    ):
        raise ValueError("`batch_size` is 0")


def test_other_errors_pass():
    with pytest.raises(TypeError), usage_errors(ValueError, OSError):
        raise TypeError


def test_missing_flags_are_told_in_order():
    values = flags.FlagValues()
    for name, value in {"data": "a", "model": "", "out": None}.items():
        flags.DEFINE_string(name, value, "", flag_values=values)
    values.mark_as_parsed()
    require(values, "data")
    with pytest.raises(app.UsageError, match="--model is missing"):
        require(values, "data", "model", "out")


def test_a_failure_says_that_nothing_is_lost(capsys):
    assert failed(console(stderr=True), "full [disk]") == 1
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "fcam: full [disk]"
    assert "what is finished is kept" in shown[1]


def test_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert absolute("here") == str(tmp_path / "here")
    assert absolute("tfds:oxford_iiit_pet") == "tfds:oxford_iiit_pet"
