import os
import re
import subprocess
import sys

import pytest
from absl import app, logging

from fcam_tf import cli
from fcam_tf.commands.arguments import positive


@pytest.fixture
def calls(monkeypatch):
    """The calls of a made-up command, ``fcam try``."""
    calls = []

    def add_to(fcam):
        parser = fcam.command("try", "THING... [flags]", "tries", details="More of it.", run=run)
        parser.add("things THING", "what to try", nargs="+")
        parser.add("-b --batch-size N", "N of them", type=positive, default=8)
        parser.add("--over-write", "again")
        parser.add("--kind png|npy", "what kind", default="png")
        parser.add("--some VALUE...", "some")

    def run(values):
        call = {key: value for key, value in vars(values).items() if key not in ("parser", "do")}
        calls.append((call, call.pop("things")))
        if "interrupt" in values.things:
            raise KeyboardInterrupt
        if "usage" in values.things:
            raise app.UsageError("wrong in some way")
        if "full" in values.things:
            raise OSError(28, "No space left on device", "out.png")
        if "library" in values.things:
            raise ImportError("it needs more: pip install more")
        if "memory" in values.things:
            import tensorflow as tf  # noqa: PLC0415

            raise tf.errors.ResourceExhaustedError(None, None, "{{function_node f}} OOM")
        return 1 if "fail" in values.things else 0

    monkeypatch.setattr(cli, "COMMANDS", (*cli.COMMANDS, add_to))
    return calls


def status(*arguments):
    return cli.run(["fcam", *arguments])


@pytest.mark.parametrize(
    "arguments",
    [
        ["a", "--batch-size", "3", "b", "--over-write", "--some=x", "--some", "y"],
        ["--batch_size=3", "a", "--some=x", "--over_write", "b", "--some", "y"],
        ["-batch-size=3", "--verbosity=0", "a", "--some=x", "b", "--over-write", "--some=y"],
        ["-b3", "a", "--verbosity", "0", "--some=x", "b", "--over-write", "--some=y"],
        ["a", "-b", "3", "--over-write", "--some", "x", "--some=y", "--", "b"],
    ],
)
def test_flags_may_stand_anywhere_with_dashes_or_underscores(calls, arguments):
    before = logging.get_verbosity()
    try:
        assert status("try", *arguments) == 0
        assert "--verbosity=0" not in arguments or logging.get_verbosity() == 0
    finally:
        logging.set_verbosity(before)
    expected = {"batch_size": 3, "over_write": True, "kind": "png", "some": ["x", "y"]}
    assert calls == [(expected, ["a", "b"])]


def test_every_call_starts_from_the_defaults(calls):
    status("try", "--batch-size=3", "--some=x", "--over-write", "a")
    status("try", "--", "--batch-size", "-x")
    assert calls[1] == (
        {"batch_size": 8, "over_write": False, "kind": "png", "some": []},
        ["--batch-size", "-x"],
    )


@pytest.mark.usefixtures("calls")
class TestStatus:
    def test_failure(self):
        assert status("try", "fail") == 1

    def test_interrupt(self, capsys):
        assert status("try", "interrupt") == 130
        assert capsys.readouterr().err == "\nfcam: interrupted; finished work is kept\n"

    def test_a_full_disk(self, capsys):
        assert status("try", "full") == 1
        assert capsys.readouterr().err == "fcam: out.png: No space left on device\n"

    def test_a_library_that_is_missing(self, capsys):
        assert status("try", "library") == 1
        assert capsys.readouterr().err == "fcam: it needs more: pip install more\n"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["try", "usage"], "fcam try: wrong in some way\n"),
            (["try", "--batch-sise=1"], "unknown flag --batch-sise; did you mean --batch-size?\n"),
            (["try", "--zzz"], "fcam try: unknown flag --zzz\n"),
            (["try", "a", "--batch-size=0"], "must be a whole number, 1 or more. Received: 0\n"),
            (["try", "a", "-b", "many"], "-b/--batch-size: must be a whole number, 1 or more."),
            (["try", "a", "--some="], "--some is empty; give a value, or leave it out\n"),
            (["try", "a", "--some", ""], "--some is empty; give a value, or leave it out\n"),
            (["try", "a", "--kind=jpg"], "--kind: value is unknown: 'jpg'."),
            (["try", "a", "--kind=pmg"], "Did you mean 'png'?"),
            (["try", "a", "--kind=npx"], "Did you mean 'npy'?"),
            (["try", "a", "--kind=gif"], "png, npy"),
            (["try", "a", "--batch-size"], "fcam try: --batch-size needs a value\n"),
            (["try", "a", "--kind", "--over-write"], "fcam try: --kind needs a value\n"),
            (["try", "a", "--over-write=yes"], "--over-write takes no value: give it, or leave"),
            (["try", "a", "--over-write=a'b"], "out. Received: a'b\n"),
            (["try", "a", "-x"], "fcam try: unknown flag -x\n"),
            (["try", "a", "--batch", "3"], "unknown flag --batch; did you mean --batch-size?\n"),
            (["try", "a", "--verbosity=loud"], "--verbosity=loud"),
            (["try"], "fcam try: the following arguments are required: THING\n"),
            (["tryy"], "fcam: command is unknown: 'tryy'. Did you mean 'try'?"),
            (["/"], "did you mean: fcam localize /\n"),
            (["zoo"], "fcam zoo: a command is missing. Available: list, show, verify, make\n"),
            (["zoo", "--list"], "fcam zoo: unknown flag --list; did you mean fcam zoo list?\n"),
            (["zoo", "lst"], "fcam zoo: command is unknown: 'lst'. Did you mean 'list'?"),
            (["--verison"], "fcam: unknown flag --verison; did you mean --version?\n"),
            (["--batch-size=3", "try"], "fcam: unknown flag --batch-size\n"),
            (["train", "classifer", "--data=x", "--out=y"], "Did you mean 'classifier'?"),
            (["localize", "x", "--method=gradcm"], "Did you mean 'gradcam'"),
            (
                ["localize", "x", "--mask=PNG"],
                "--mask: value is unknown: 'PNG'. Did you mean 'png'?",
            ),
            (
                ["localize", "x", "--table=csv,parquet"],
                "--table: takes one value; give it once for",
            ),
            (["localize", "x", "--fps=fast"], "--fps must be a number. Received: fast\n"),
            (["localize", "x", f"--out={__file__}"], f"--out {__file__} is not a folder\n"),
            (
                ["train", "fsl", "--data=x", f"--out={__file__}/y"],
                f"y: {__file__} is not a folder\n",
            ),
            (
                ["search", "fsl", "--data=x", "--out=y", "--seed=a"],
                "--seed must be a whole number. ",
            ),
            (["localize", "x", f"--model={__file__}"], "ends with .keras, and this one does not\n"),
            (
                ["localize", "x", "--import=/"],
                "--import /: this is a folder, and a file is needed\n",
            ),
        ],
    )
    def test_wrong_usage(self, capsys, arguments, message):
        assert status(*arguments) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert message in shown.err
        assert shown.err.count("\n") == 2
        name = shown.err.partition(": ")[0]
        commands = ("try", "zoo", "train", "search", "localize")
        assert name in {"fcam", *(f"fcam {command}" for command in commands)}
        assert shown.err.splitlines()[1] == f"See {name} --help"


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"], ["--helpshort"]])
def test_overview(capsys, arguments):
    assert status(*arguments) == 0
    shown = capsys.readouterr().out
    assert "usage: fcam COMMAND" in shown
    assert re.search(r"\n    try +tries\n", shown)
    assert re.search(r"\n    localize +what is in photos", shown)


@pytest.mark.parametrize("arguments", [["try", "--help"], ["help", "try"], ["try", "a", "-h"]])
def test_help_of_a_command(capsys, calls, arguments):
    assert status(*arguments) == 0
    shown = capsys.readouterr().out
    assert "usage: fcam try THING... [flags]\n\nMore of it." in shown
    # Python 3.13 writes "-b, --batch-size N".
    assert re.search(r"\n  -b( N)?, --batch-size N +N of them \(default: 8\)\n", shown)
    assert re.search(r"\n  --kind png\|npy +what kind \(default: png\)\n", shown)
    assert re.search(r"\n  --over-write +again\n", shown)
    assert re.search(r"\n  --some VALUE +some; may be repeated\n", shown)
    assert calls == []


COMMANDS = (
    *("data check", "evaluate", "export", "localize", "search", "store-cams", "train"),
    *("zoo list", "zoo show", "zoo verify", "zoo make"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_without_blanks(capsys, command):
    assert status(*command.split(), "--help") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: fcam {command} ")
    text = " ".join(shown.split())
    assert "Exit status: 0 all went well" in text
    for wrong in ("(default: )", "(default: None)", "(default: [])", "may be repeated; may be"):
        assert wrong not in text
    names = {line.split()[-2] for line in shown.splitlines() if line.startswith("  -")}
    assert "--" not in names


def completions(line):
    """What the shell is told to offer at the end of a line."""
    variables = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": "/dev/stdout",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    code = "import sys\nfrom fcam_tf import cli\nsys.argv = ['fcam']\ncli.main()"
    found = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, check=True
    )
    return found.stdout.decode().split("\v")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("fcam lo", ["localize"]),
        ("fcam localize p.png --overw", ["--overwrite"]),
        ("fcam localize p.png --heatmap n", ["npy", "none"]),
        ("fcam localize -m efficientnetlite_b0_sm", ["efficientnetlite_b0_smoothgradcampp"]),
        ("fcam train cl", ["classifier"]),
        ("fcam zoo ma", ["make"]),
    ],
)
def test_the_shell_completes(line, offered):
    assert [word.strip() for word in completions(line)] == offered


def test_version(capsys):
    assert status("--version") == 0
    assert capsys.readouterr().out.startswith("fcam 0.")


def test_no_tensorflow_for_help_and_wrong_usage(tmp_path):
    script = """
import sys
from fcam_tf import cli
for line in (
    ["--help"], ["localize", "--help"], ["localize"], ["localize", "--labl", "x"],
    ["localize", "x", "--model=resnet5"], ["localize", "x", "--threshold=9"],
    ["localize", "/nowhere.jpg"],
):
    sys.argv[1:] = line
    cli.main()
    modules = {"tensorflow", "keras", *(["numpy"] if "--help" in line else [])}
    assert not modules & set(sys.modules), line
"""
    subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
    )


@pytest.mark.slow
def test_is_a_module_to_run(tmp_path):
    (tmp_path / "layers.py").write_text("import warnings\nwarnings.warn('old')\n")
    command = [sys.executable, "-m", "fcam_tf", "localize", "", "-m", "x.keras", "--import"]
    found = subprocess.run(
        [*command, tmp_path / "layers.py"], capture_output=True, text=True, check=False
    )
    assert found.returncode == 2
    assert found.stderr.startswith("fcam: old\nfcam localize: --model x.keras: there is no such")


_LONG = "a" * 5000


@pytest.mark.parametrize(
    "arguments",
    [
        [_LONG],
        ["data", "check", _LONG],
        ["localize", "x.png", "--model", _LONG],
        ["localize", "x.png", "--model", f"{_LONG}.keras"],
        ["localize", "x.png", "--import", _LONG],
        ["evaluate", "--data", "x", "--model", _LONG, "--out", "x"],
        ["train", "classifier", "--data", "x", "--model", _LONG, "--out", "x"],
        ["zoo", "list", _LONG],
        ["zoo", "list", "a\nb"],
        ["zoo", "show", _LONG],
        ["zoo", "show", "a\nb"],
        ["zoo", "verify", _LONG],
        ["zoo", "make", _LONG, "--data", "x", "--licence", "x"],
    ],
    ids=lambda arguments: "-".join(repr(a)[1:8] for a in arguments),
)
def test_a_name_too_long_or_odd_gives_a_line(arguments, capfd):
    assert status(*arguments) in (1, 2)
    err = capfd.readouterr().err
    lines = [line for line in err.splitlines() if not line.startswith("See fcam")]
    assert len(lines) == 1, err
    assert lines[0].startswith("fcam")
    assert len(lines[0]) < 1500


def test_code_of_the_user_may_end_the_program_with_a_text(capsys, tmp_path):
    (tmp_path / "layers.py").write_text("raise SystemExit('needs another version')")
    assert status("localize", "x.png", "--import", str(tmp_path / "layers.py")) == 1
    assert "fcam: needs another version\n" in capsys.readouterr().err


@pytest.mark.usefixtures("calls")
def test_what_tensorflow_fails_on_is_told_in_a_line(capsys):
    assert status("try", "memory") == 1
    assert capsys.readouterr().err == "fcam: OOM\n"
