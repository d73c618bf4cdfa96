"""Compiling the C++ test programs."""

import functools
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parents[2]
SOURCES = ROOT / "fcam_tf" / "ops" / "cc"
LATTICE = ("permutohedral", "geometry", "batch", "thread_pool", "lattice_baseline")
CUDA = ("cuda_lattice", "cuda_mean_field", "cuda_device")
# cuda_compiler.cc has their text
KERNELS = ("permutohedral.cu", "cuda_vertices.h", "cuda_pixels.h", "cuda_job.h")
# Without the fast instruction sets.
FLAGS = ("-std=gnu++17", "-O1", "-DFCAM_PORTABLE", "-Wno-psabi", "-Wno-unknown-pragmas", "-fPIC")
COMPILER = shutil.which("g++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no g++")


def compiled(target, names):
    """Compile sources of the library and of the tests, and link them; return the target."""
    objects = [_object(name) for name in names]
    flags = ["-pthread", *(["-shared"] if target.suffix == ".so" else [])]
    subprocess.run([COMPILER, *flags, "-o", target, *objects, "-ldl"], check=True)
    return target


def run(program, *arguments):
    """Run a test program and return what it prints."""
    done = subprocess.run([program, *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def _object(name):
    """Compile a source where no test, in this or an earlier run, has compiled it."""
    found = _objects() / f"{name}.o"
    if not found.exists():
        source = next(a / f"{name}.cc" for a in (TESTS, SOURCES) if (a / f"{name}.cc").exists())
        # Whole or not at all: another process may compile the same.
        with tempfile.TemporaryDirectory(dir=_objects()) as folder:
            for kernel in KERNELS:
                text = (SOURCES / kernel).read_text("utf-8")
                Path(folder, f"{kernel}.inc").write_text(f'R"fcam({text})fcam"', "utf-8")
            partial = Path(folder, found.name)
            folders = (f"-I{path}" for path in (SOURCES, TESTS, folder))
            command = [COMPILER, *FLAGS, *folders, "-c", source, "-o", partial]
            subprocess.run(command, check=True)
            partial.replace(found)
    return found


@functools.cache
def _objects():
    """Return the folder for what is compiled of these very sources by this compiler."""
    version = subprocess.run([COMPILER, "--version"], capture_output=True, check=True).stdout
    made_of = hashlib.sha256(version + repr(FLAGS).encode())
    for file in sorted((*SOURCES.iterdir(), *TESTS.iterdir())):
        if file.suffix in (".cc", ".cu", ".h", ".inc"):
            made_of.update(file.name.encode() + file.read_bytes())
    folder = ROOT / ".pytest_cache" / f"objects-{made_of.hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
