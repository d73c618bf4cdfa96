"""A few of each: `make faults KILLS=50` does more."""

import subprocess
import sys

import pytest

from tests.faults.shim import compiler

pytestmark = [
    pytest.mark.slow,
    pytest.mark.longest,
    pytest.mark.skipif(not compiler(), reason="needs a C compiler"),
]


def disturb(*arguments):
    command = [sys.executable, "-m", "tests.faults", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return [line.strip("| ").split(" | ") for line in ended.stdout.splitlines()]


def test_killed_at_random_moments():
    names = ["train classifier", "localize", "evaluate", "zoo save", "download"]
    flags = [f"--scenario={name}" for name in names]
    _, _, *rows = disturb("--fault=killed", "--kills=2", *flags)
    assert sorted(row[:2] for row in rows) == sorted([name, "2"] for name in names)


def test_other_faults():
    faults = ["full disk", "read-only", "no locks", "clock", "two"]
    flags = [f"--fault={name}" for name in faults]
    head, _, *rows = disturb(*flags, "--scenario=train classifier", "--scenario=localize")
    assert head == ["command", "killed", *faults]
    assert rows == [
        [name, "-", "1", "2", "1", "1", "1"] for name in ("train classifier", "localize")
    ]
