import shutil
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[3] / "fcam_tf" / "ops" / "cc"


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_the_lattice_without_python(tmp_path):
    program = tmp_path / "permutohedral_test"
    names = ("permutohedral_test", "permutohedral", "geometry", "batch", "thread_pool")
    # Without the fast instruction sets, so that the portable code is what runs.
    subprocess.run(
        ["g++", "-std=gnu++17", "-O1", "-DFCAM_PORTABLE", "-Wno-psabi", "-pthread", "-o", program]
        + [SOURCES / f"{name}.cc" for name in (*names, "lattice_baseline")],
        check=True,
    )
    done = subprocess.run([program], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout == "baseline, 0 failures\n"
