import ctypes.util
import os
import unittest.mock
import warnings

import pytest
import tensorflow as tf

from fcam_tf.ops import backend, loader
from tests.children import Child


@pytest.fixture(autouse=True)
def _fresh():
    _forget()
    yield
    _forget()


def _forget():
    loader.library.cache_clear()
    loader.on_gpu.cache_clear()


def test_the_environment_chooses(monkeypatch):
    monkeypatch.setenv("FCAM_OPS", "tensorflow")
    assert backend() == "tensorflow"
    _forget()
    monkeypatch.setenv("FCAM_OPS", "native")
    assert backend() == "native"
    _forget()
    monkeypatch.setenv("FCAM_OPS", "gpu")
    with pytest.raises(ValueError, match="'gpu'"):
        backend()


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU")
def test_cuda_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.setenv("FCAM_OPS", "cuda")
    with pytest.raises(ImportError, match=r"FCAM_OPS=cuda, but TensorFlow .* sees no GPU"):
        backend()


@pytest.mark.skipif(bool(ctypes.util.find_library("cuda")), reason="there is a driver")
def test_a_gpu_without_its_driver_is_told_once(monkeypatch):
    monkeypatch.delenv("FCAM_OPS", raising=False)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: ["GPU:0"])
    with pytest.warns(UserWarning, match=r"libcuda.so.1 cannot be loaded.*FCAM_OPS=native"):
        assert backend() == "native"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backend() == "native"
        with loader.device():
            assert "CPU" in tf.constant(1.0).device
    _forget()
    monkeypatch.setenv("FCAM_OPS", "cuda")
    with pytest.raises(ImportError, match=r"FCAM_OPS=cuda, but the NVIDIA driver is missing"):
        backend()
    _forget()
    monkeypatch.setenv("FCAM_OPS", "native")
    assert backend() == "native"


def test_compilers_of_packages_come_before_the_toolkit(monkeypatch, tmp_path):
    lib = tmp_path / "lib64"
    lib.mkdir()
    (lib / "libnvrtc.so.13").touch()
    (lib / "libnvrtc-builtins.so.13.0").touch()
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert loader.compilers()[-1] == lib / "libnvrtc.so.13"
    assert all("nvidia" in path.parts for path in loader.compilers()[:-1])


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
    _forget()
    monkeypatch.setenv("FCAM_OPS", "native")
    with pytest.raises(ImportError, match="pip install"):
        backend()


@pytest.mark.slow
def test_importing_the_losses_loads_no_library():
    program = (
        "import fcam_tf.losses as l; from fcam_tf.ops import loader; "
        "assert not loader.library.cache_info().currsize; print(l.crf_loss.__name__)"
    )
    assert Child(program).communicate()[0].strip() == "crf_loss"


def test_kernels_are_kept_in_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("FCAM_CACHE", str(tmp_path))
    native = unittest.mock.Mock()
    native.fcam_cuda_set_up.return_value = b"no GPU"
    assert loader.set_up(native) == "no GPU"
    assert native.fcam_cuda_set_up.call_args.args[2] == os.fsencode(tmp_path)


def test_without_a_home_kernels_are_kept_nowhere(monkeypatch):
    monkeypatch.setattr(loader, "cache_folder", unittest.mock.Mock(side_effect=RuntimeError))
    native = unittest.mock.Mock()
    native.fcam_cuda_set_up.return_value = b""
    assert loader.set_up(native) == ""
    assert native.fcam_cuda_set_up.call_args.args[2] == b""
