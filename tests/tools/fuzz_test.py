import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
FILES = ("metadata", "folders", "card", "archive", "members", "results", "torch", "claimed", "npy")
MODELS = ("recipe", "setting", "weights", "old_weights", "evaluation", "run")

REFUSED = {"card": 1, "members": 1, "npy": 4, "weights": 2, "old_weights": 2}  # of the seeds, last


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    yield importlib.import_module
    for name in ("fuzz_engine", "fuzz_files", "fuzz_models"):
        sys.modules.pop(name, None)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("module", "name"),
    [*(("fuzz_files", name) for name in FILES), *(("fuzz_models", name) for name in MODELS)],
)
def test_seeds_work_but_for_the_last_that_are_refused(tools, tmp_path, module, name):
    # From seeds that are all refused, no case would get beyond the first check.
    target = tools(module).TARGETS[name]
    refused = {}
    for index, seed in enumerate(target.seeds()):
        place = tmp_path / f"{index}"
        place.mkdir()
        try:
            target.run(seed, place)
        except target.refusals as error:
            named = str(place) in f"{error} {getattr(error, 'filename', '')}"
            refused[index] = named or not target.named
    assert all(refused.values())
    assert list(refused) == [*range(index + 1 - REFUSED.get(name, 0), index + 1)]


class Judged:
    """A judge of one target, whose watch over writes ends with it."""

    def __init__(self, engine, run, folder):
        target = engine.Target(run, (ValueError,), list, named=True)
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self.judge = engine.Judge(target, folder, self.scratch)
        self.judge.case(b"data")
        self.counts = self.judge.counts


def refuse(message):
    def run(_, place):
        raise ValueError(message.format(place))

    return run


@pytest.mark.parametrize(
    ("run", "worked", "refused", "fault"),
    [
        (lambda _, place: (place / "a").write_bytes(b""), 1, 0, None),
        (refuse("{}/a is no photo"), 0, 1, None),
        (refuse("no photo"), 0, 1, "it names no file"),
        (lambda *_: 1 // 0, 0, 0, "ZeroDivisionError at fuzz_test.py"),
        (lambda _, place: (place / "../../out").write_bytes(b""), 1, 0, "it would open"),
        (lambda _, place: (place / "a").symlink_to("/etc"), 1, 0, None),
    ],
)
def test_what_is_a_fault(tools, tmp_path, run, worked, refused, fault):
    counts = Judged(tools("fuzz_engine"), run, tmp_path).counts
    assert (counts["cases"], counts["worked"], counts["refused"]) == (1, worked, refused)
    assert len(counts["faults"]) == bool(fault)
    if fault:
        assert counts["faults"][0].startswith(fault)
        kept = [path for path in tmp_path.glob("fault-*") if path.suffix != ".txt"]
        assert [path.read_bytes() for path in kept] == [b"data"]


ENDING = """
import os, sys
from pathlib import Path
from fuzz_engine import Judge, Target

def run(data, _):
    if data == b"bad":
        os.abort()

folder = Path(sys.argv[1])
judge = Judge(Target(run, (), list), folder, folder)
for data in (*(f"{i}".encode() for i in range(20)), b"bad"):
    judge.case(data)
"""


def test_the_last_inputs_of_a_process_that_ended_are_kept(tools, tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", ENDING, tmp_path],
        env=os.environ | {"PYTHONPATH": f"{TOOLS}"},
        check=False,
    )
    assert child.returncode == -signal.SIGABRT
    engine = tools("fuzz_engine")
    kept = engine.keep_last(tmp_path)
    inputs = [path.read_bytes() for path in sorted(kept.iterdir())]
    assert inputs == [*(f"{i}".encode() for i in range(21 - engine.LAST, 20)), b"bad"]
    assert engine.keep_last(tmp_path) is None
