import os
import subprocess
import sys

import pytest
from absl import app, flags

from fcam_tf import cli
from fcam_tf.commands import Command


@pytest.fixture
def calls(monkeypatch):
    """The calls of a made-up command, ``fcam try``."""
    calls = []

    def define(values):
        flags.DEFINE_integer("batch_size", 8, "`N` of them", 1, flag_values=values)
        flags.DEFINE_boolean("over_write", False, "again", flag_values=values)
        flags.DEFINE_enum("kind", "png", ["png", "npy"], "what kind", flag_values=values)

    def run(values, arguments):
        calls.append((values.flag_values_dict(), arguments))
        if "interrupt" in arguments:
            raise KeyboardInterrupt
        if "usage" in arguments:
            raise app.UsageError("wrong in some way")
        return 1 if "fail" in arguments else 0

    command = Command("THING... [flags]", "tries", "More about it.", define, run)
    monkeypatch.setitem(cli.COMMANDS, "try", command)
    return calls


def status(*arguments):
    return cli.run(["fcam", *arguments])


@pytest.mark.parametrize(
    "arguments",
    [
        ["a", "--batch-size", "3", "b", "--over-write"],
        ["--batch_size=3", "a", "--over_write=true", "b"],
        ["-batch-size=3", "--verbosity=0", "a", "b", "--over-write"],
    ],
)
def test_flags_may_stand_anywhere_with_dashes_or_underscores(calls, arguments):
    assert status("try", *arguments) == 0
    assert calls == [({"batch_size": 3, "over_write": True, "kind": "png"}, ["a", "b"])]


def test_every_call_starts_from_the_defaults(calls):
    status("try", "--batch-size=3")
    status("try", "--noover-write", "--", "--batch-size", "-x")
    assert calls[1] == (
        {"batch_size": 8, "over_write": False, "kind": "png"},
        ["--batch-size", "-x"],
    )


@pytest.mark.usefixtures("calls")
class TestStatus:
    def test_failure(self):
        assert status("try", "fail") == 1

    def test_interrupt(self, capsys):
        assert status("try", "interrupt") == 130
        assert capsys.readouterr().err == "\nfcam: interrupted; what is finished is kept\n"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["try", "usage"], "fcam try: wrong in some way\n"),
            (["try", "--batch-sise=1"], "unknown flag --batch-sise; did you mean --batch-size?\n"),
            (["try", "--zzz"], "fcam try: unknown flag --zzz\n"),
            (["try", "--batch-size=0"], "--batch-size=0"),
            (["try", "--batch-size=many"], "--batch-size=many"),
            (["try", "--kind=jpg"], "value should be one of <png|npy>"),
            (["try", "a", "--batch-size"], "Missing value for flag --batch-size\n"),
            (["tryy"], "fcam: unknown command 'tryy'; did you mean try?\n"),
            (["/"], "did you mean: fcam localize /\n"),
            (["--batch-size=3", "try"], "fcam: unknown command '--batch-size=3'"),
        ],
    )
    def test_wrong_usage(self, capsys, arguments, message):
        assert status(*arguments) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert message in shown.err
        assert shown.err.count("\n") == 2
        assert shown.err.splitlines()[1] in {"See fcam --help", "See fcam try --help"}


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_overview(capsys, arguments):
    assert status(*arguments) == 0
    shown = capsys.readouterr().out
    assert "Usage: fcam COMMAND" in shown
    assert "  try       tries\n" in shown
    assert "  localize  what is in photos" in shown


@pytest.mark.parametrize("arguments", [["try", "--help"], ["help", "try"], ["try", "a", "-h"]])
def test_help_of_a_command(capsys, calls, arguments):
    assert status(*arguments) == 0
    shown = capsys.readouterr().out
    assert "Usage: fcam try THING... [flags]" in shown
    assert "  --batch-size N\n      N of them (default: 8)\n" in shown
    assert "  --kind png|npy\n      what kind (default: png)\n" in shown
    assert "  --over-write\n      again" in shown
    assert calls == []


def test_version(capsys):
    assert status("--version") == 0
    assert capsys.readouterr().out.startswith("fcam 0.")


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], ["localize", "--help"], ["localize"], ["localize", "--labl", "x"]),
        *(["localize", "x", "--model=resnet5"], ["localize", "x", "--threshold=9"]),
        ["localize", "/nowhere.jpg"],
    ],
)
def test_no_tensorflow_for_help_and_wrong_usage(tmp_path, arguments):
    script = (
        "import sys\n"
        "from fcam_tf import cli\n"
        "cli.main()\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, *arguments],
        check=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
    )


def test_is_a_module_to_run():
    found = subprocess.run(
        [sys.executable, "-m", "fcam_tf", "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("fcam ")
