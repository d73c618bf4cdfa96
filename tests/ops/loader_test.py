import os
import subprocess
import sys
import warnings

import pytest

from fcam_tf.ops import backend, loader


@pytest.fixture(autouse=True)
def _fresh():
    loader.library.cache_clear()
    yield
    loader.library.cache_clear()


def test_the_environment_chooses(monkeypatch):
    monkeypatch.setenv("FCAM_OPS", "tensorflow")
    assert backend() == "tensorflow"
    loader.library.cache_clear()
    monkeypatch.setenv("FCAM_OPS", "native")
    assert backend() == "native"
    loader.library.cache_clear()
    monkeypatch.setenv("FCAM_OPS", "cuda")
    with pytest.raises(ValueError, match="cuda"):
        backend()


@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_without_the_library_it_says_so_once(damage, monkeypatch, tmp_path):
    if damage == "garbage":
        (tmp_path / "fcam_ops.so").write_bytes(b"no library")
    monkeypatch.setattr(loader.resources, "files", lambda _: tmp_path)
    monkeypatch.delenv("FCAM_OPS", raising=False)
    with pytest.warns(UserWarning, match="pip install"):
        assert backend() == "tensorflow"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backend() == "tensorflow"
    loader.library.cache_clear()
    monkeypatch.setenv("FCAM_OPS", "native")
    with pytest.raises(ImportError, match="pip install"):
        backend()


def test_importing_the_losses_loads_no_library():
    program = (
        "import sys, fcam_tf.losses as l; "
        "assert 'fcam_tf.ops' not in sys.modules; print(l.crf_loss.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == b"crf_loss"
