import argparse
import subprocess
import sys

import pytest

from tools import bench_beam
from tools.bench_beam import Took


def test_tables():
    values = argparse.Namespace(number=1100, few=100)
    one = Took(20, 30, 10**9, 10**9), Took(120, 50, 2 * 10**9, 3 * 10**9)
    two = Took(20, 30, 10**9, 10**9), Took(82.5, 70, 2 * 10**9, 4 * 10**9)
    lines = bench_beam.tables({1: one, 2: two}, values)
    # 1000 photos in 100 s and 20 s of a processor, whose first 2 s were for photos; then in 62.5.
    assert lines[2] == "| 1 | 10.0 |  | 50.0 | 28 | 2.0 GB | 3.0 GB |"
    assert lines[3] == "| 2 | 16.0 | 80% | 25.0 | 26 | 2.0 GB | 4.0 GB |"
    assert lines[4] == ""
    assert lines[7] == "| ImageNet, train | 1281167 | 14.2 | 53 minutes | 129 GB |"


def test_what_a_command_takes():
    grow = "x = b'1' * 50_000_000; import time; time.sleep(0.3)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grow!r}])"
    # In a small process: Linux counts what one was before it became another.
    script = f"""
import sys
from tools import bench_beam
bench_beam._EVERY = 0.01
took = bench_beam.measured([sys.executable, "-c", {child!r}])
print(took.wall, took.largest, took.together)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    wall, largest, together = map(float, found.stdout.split())
    assert wall > 0.3
    assert 50_000_000 < largest < 100_000_000
    assert together > 50_000_000


def test_a_command_that_fails():
    with pytest.raises(SystemExit, match="failed"):
        bench_beam.measured([sys.executable, "-c", "1 / 0"])
