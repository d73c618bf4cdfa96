import ctypes

import pytest

from fcam_tf.ops import loader

LIBRARIES = {path.name.rpartition(".")[2]: path for path in loader.compilers()}
ARCHITECTURES = [70, 75, 80, 86, 89, 90, 100, 120]
DROPPED = {"13": (70,)}  # by a generation of the compiler


@pytest.fixture(params=["12", "13"])
def generation(request):
    if request.param not in LIBRARIES:
        package = "nvidia-cuda-nvrtc-cu12" if request.param == "12" else "'nvidia-cuda-nvrtc>=13'"
        pytest.skip(f"NVRTC {request.param} is missing: pip install {package}")
    return request.param


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "fcam_tf"


def compiled(arch, generation, driver=13000):
    """Compile the kernels; return the size of the module and what went wrong."""
    loader.library()  # TensorFlow has to be there before the library
    function = ctypes.CDLL(str(loader.path())).fcam_cuda_compile
    function.restype = ctypes.c_int64
    message = ctypes.create_string_buffer(10000)
    place = str(LIBRARIES[generation]).encode()
    size = function(arch, driver, place, message, ctypes.c_size_t(len(message)))
    return size, message.value.decode()


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.usefixtures("cache")
def test_kernels_compile_for_every_gpu(generation, arch):
    if arch in DROPPED.get(generation, ()):
        pytest.skip(f"CUDA {generation} dropped sm_{arch}")
    size, problem = compiled(arch, generation)
    assert problem == ""
    assert size > 10000


@pytest.mark.usefixtures("cache")
def test_a_gpu_of_the_past_is_refused(generation):
    size, problem = compiled(35, generation)
    assert size == 0
    assert "knows no GPU as old as compute capability 3.5" in problem


def test_a_gpu_of_the_future_takes_portable_code(generation, cache):
    size, problem = compiled(999, generation)
    assert problem == ""
    assert size > 10000
    (file,) = cache.iterdir()
    assert b".version" in file.read_bytes()  # PTX, which the driver compiles


def test_a_module_is_compiled_once(generation, cache):
    first, _ = compiled(80, generation)
    (file,) = cache.iterdir()
    kept = file.stat().st_mtime_ns, file.read_bytes()
    assert compiled(80, generation) == (first, "")
    assert (file.stat().st_mtime_ns, file.read_bytes()) == kept
    compiled(90, generation)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("damage", [lambda f: f[:-7], lambda _: b"", lambda f: b"x" + f])
def test_a_damaged_file_is_made_again(generation, cache, damage):
    size, _ = compiled(80, generation)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert compiled(80, generation) == (size, "")
    assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_no_error(generation, monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    size, problem = compiled(80, generation)
    assert size > 10000
    assert problem == ""


@pytest.mark.usefixtures("cache")
def test_a_compiler_newer_than_the_driver_is_refused(generation):
    size, problem = compiled(80, generation, driver=11080)
    assert size == 0
    assert "is newer than the NVIDIA driver" in problem
    assert "pip install nvidia-cuda-nvrtc-cu12" in problem
