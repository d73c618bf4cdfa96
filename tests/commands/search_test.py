import csv
import shutil
import subprocess
import sys

import pytest

from fcam_tf import cli, training
from fcam_tf.commands import search
from fcam_tf.data import write_shapes
from fcam_tf.identity import file_sha256
from tests.commands.conftest import TRAINED
from tests.models.tiny import tiny_classifier

FAST = ("--set", "epochs=1", "--set", "batch_size=5", "--set", "resize=36", "--set", "crop=32")


def status(*arguments):
    return cli.run(["fcam", "search", *map(str, arguments)])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_shapes(
        tmp_path_factory.mktemp("data") / "shapes", {"train": 10, "val": 5, "test": 4}, 48
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.keras"
    tiny_classifier(classes=5).save(path)
    return path


@pytest.mark.parametrize("trainings", ["told", TRAINED], indirect=True)
def test_searches_and_goes_on(data, tiny, tmp_path, trainings, capfd):
    out = tmp_path / "out"
    command = (
        *("fcam", "--data", data, "--model", tiny, "--out", out, "--set", "loss.erosion=3"),
        *("--draw", "learning_rate=log:0.001..0.1", "--draw", "loss.positives=1..4", *FAST),
    )
    assert status(*command, "--draws", "1") == 0
    # Below the progress of a training, where it is one.
    assert "1 draw" in map(str.strip, capfd.readouterr().out.splitlines())
    stamp = (out / "trial-0" / "state.json").stat().st_mtime_ns
    assert status(*command, "--draws", "2") == 0
    assert (out / "trial-0" / "state.json").stat().st_mtime_ns == stamp
    assert [asked.out for asked in trainings] == ["trial-0", "trial-1"]
    table = capfd.readouterr().out
    assert "learning_rate" in table
    assert "2 draws" in table
    with (out / "search.csv").open() as file:
        rows = list(csv.DictReader(file))
    best = training.get("fcam", str(out / "best.json"))
    assert f"{best.learning_rate}" in {row["learning_rate"] for row in rows}
    assert best.epochs == 1
    # The same command again has nothing to do, for which it needs no TensorFlow.
    code = (
        "import sys; from fcam_tf import cli; code = cli.run(['fcam', 'search', *sys.argv[1:]])\n"
        "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    )
    again = [sys.executable, "-c", code, *map(str, command), "--draws", "2"]
    shown = subprocess.run(again, check=True, capture_output=True, text=True).stdout
    assert shown.split() == table[table.index("2 draws") :].split()
    # Another strategy trains otherwise: it is another search.
    assert status(*command, "--draws", "2", "--strategy", "mirrored") == 2
    assert "--strategy was single before, and is mirrored now" in capfd.readouterr().err
    # A trial that was removed is trained again.
    shutil.rmtree(out / "trial-1")
    assert status(*command, "--draws", "2") == 0
    assert [asked.out for asked in trainings] == ["trial-0", "trial-1", "trial-1"]


def test_trials_know_the_weights_that_the_search_began_with(data, tmp_path, trainings):
    weights = tmp_path / "own.weights.h5"
    weights.write_bytes(b"first")
    command = ("classifier", "--data", data, "--out", tmp_path / "out", "--weights", weights, *FAST)
    assert status(*command, "--draw", "momentum=0..0.9", "--draws", "2") == 0
    assert [each.start.weights_identity for each in trainings] == [file_sha256(weights)] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--draw is missing"),
        (("--draw", "learning_rate"), "must be KEY=LOW..HIGH"),
        (("--draw", "learning_rat=0..1"), "Did you mean 'learning_rate'"),
        (("--draw", "learning_rate=0..0.1", "--draws", "0"), "--draws: must be a whole number, 1 "),
        (("--draw", "baseline.drp_rate=0..1.0", "--method=adl"), "Did you mean 'drop_rate'"),
        (("--draw", "baseline.drop_rate=2..3.0", "--method=adl"), "drop_rate must be in [0, 1]"),
    ],
)
def test_wrong_usage(data, tiny, tmp_path, capfd, arguments, message):
    command = ("classifier", "--data", data, "--model", tiny, "--out", tmp_path / "o", *arguments)
    assert status(*command) == 2
    assert message in capfd.readouterr().err


def test_nothing_to_choose_by(data, tiny, tmp_path, capfd):
    for name in ("disc", "square"):
        (tmp_path / "plain" / "train" / name).mkdir(parents=True)
        (tmp_path / "plain" / "train" / name / "a.png").write_bytes(
            next((data / "images").rglob("*.png")).read_bytes()
        )
    command = ("classifier", "--data", tmp_path / "plain", "--model", tiny)
    assert status(*command, "--out", tmp_path / "o", "--draw", "momentum=0..0.9") == 2
    assert "no ground truth for val" in capfd.readouterr().err


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_search_that_learnt_nothing_says_so(capsys, epoch):
    trials = [training.Trial(0, {"momentum": 0.5}, None, None)]
    trials += [training.Trial(1, {"momentum": 0.9}, 50.0, epoch)]
    search.tell(trials, "PxAP")
    shown = capsys.readouterr()
    assert "diverged" in shown.out
    assert ("nothing was learnt: PxAP never rose" in shown.err) == (epoch == 0)
