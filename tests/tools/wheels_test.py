import importlib
import sys
import zipfile
from pathlib import Path

import pytest

from fcam_tf.ops import loader

pytest.importorskip("elftools")
TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def wheels(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    wheels = importlib.import_module("wheels")
    yield wheels
    sys.modules.pop("wheels")  # its flags belong to it alone
    for name in ("out", "architectures"):
        delattr(wheels.flags.FLAGS, name)


@pytest.fixture
def wheel(tmp_path):
    library = Path(loader.__file__).with_name("fcam_ops.so")
    if not library.exists():
        pytest.skip("the operations are not compiled")
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.write(library, "fcam_tf/ops/fcam_ops.so")
    return tmp_path / "a.whl"


def test_a_library_that_needs_another_is_refused(wheels, wheel, monkeypatch):
    monkeypatch.setattr(wheels, "_GLIBC", (99, 0))
    monkeypatch.setattr(wheels, "_NEEDED", {"libtensorflow_framework.so.2"})
    with pytest.raises(RuntimeError, match=r"needs \[.*'libc\.so\.6'"):
        wheels.check(wheel)


def test_a_library_of_a_newer_glibc_is_refused(wheels, wheel, monkeypatch):
    monkeypatch.setattr(wheels, "_GLIBC", (2, 2))
    with pytest.raises(RuntimeError, match=r"glibc \(2, \d+"):
        wheels.check(wheel)


def test_a_large_wheel_is_refused(wheels, wheel, monkeypatch):
    monkeypatch.setattr(wheels, "_LARGEST", 1000)
    with pytest.raises(RuntimeError, match="above 1000"):
        wheels.check(wheel)
