"""Compiling the C++ test programs."""

import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SOURCES = TESTS.parents[2] / "fcam_tf" / "ops" / "cc"
LATTICE = ("permutohedral", "geometry", "batch", "thread_pool", "lattice_baseline")
COMPILER = shutil.which("g++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no g++")


def compiled(target, names, options=()):
    """Compile sources without the fast instruction sets; return the target."""
    folders = [TESTS if name.endswith("_test") else SOURCES for name in (*names, *LATTICE)]
    sources = [a / f"{name}.cc" for a, name in zip(folders, (*names, *LATTICE), strict=True)]
    flags = ["-std=gnu++17", "-O1", "-DFCAM_PORTABLE", "-Wno-psabi", "-pthread", f"-I{SOURCES}"]
    subprocess.run([COMPILER, *flags, *options, "-o", target, *sources], check=True)
    return target


def run(program):
    """Run a test program and return what it prints."""
    done = subprocess.run([program], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout
