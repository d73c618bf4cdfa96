import ctypes
import shutil

import pytest

from fcam_tf.ops import loader
from tests.ops.cc import build

pytestmark = build.needs_compiler

LIBRARIES = {path.name.rpartition(".")[2]: path for path in loader.compilers()}
ARCHITECTURES = [70, 75, 80, 86, 89, 90, 100, 120]
QUICK = (70, 90)
DROPPED = {"13": (70,)}  # by a generation of the compiler


@pytest.fixture(scope="module", params=["12", "13"])
def generation(request):
    if request.param not in LIBRARIES:
        package = "nvidia-cuda-nvrtc-cu12" if request.param == "12" else "'nvidia-cuda-nvrtc>=13'"
        pytest.skip(f"NVRTC {request.param} is missing: pip install {package}")
    return request.param


@pytest.fixture(scope="module")
def compiled(generation, tmp_path_factory):
    """Return what compiles for a folder: the size of the module and what went wrong."""
    names = ("cuda_compile_check", "cuda_compiler")
    library = build.compiled(tmp_path_factory.mktemp("library") / "compile.so", names)
    function = ctypes.CDLL(str(library)).fcam_check_compile
    function.restype = ctypes.c_int64

    def compile_for(cache, arch, driver=13000):
        message = ctypes.create_string_buffer(10000)
        place, kept = str(LIBRARIES[generation]).encode(), str(cache).encode()
        size = function(arch, driver, place, kept, message, ctypes.c_size_t(len(message)))
        return size, message.value.decode()

    return compile_for


@pytest.fixture(scope="module")
def compiled_once(compiled, tmp_path_factory):
    """Return a folder that holds the module of sm_80, and the module's size."""
    folder = tmp_path_factory.mktemp("cache") / "not" / "there"
    size, problem = compiled(folder, 80)
    assert problem == ""
    return folder, size


@pytest.fixture
def cache(compiled_once, tmp_path):
    return shutil.copytree(compiled_once[0], tmp_path / "cache")


@pytest.mark.parametrize(
    "arch", [pytest.param(a, marks=() if a in QUICK else pytest.mark.slow) for a in ARCHITECTURES]
)
def test_kernels_compile_for_every_gpu(compiled, generation, arch, tmp_path):
    if arch in DROPPED.get(generation, ()):
        pytest.skip(f"CUDA {generation} dropped sm_{arch}")
    size, problem = compiled(tmp_path, arch)
    assert problem == ""
    assert size > 10000


def test_a_gpu_of_the_past_is_refused(compiled, tmp_path):
    size, problem = compiled(tmp_path, 35)
    assert size == 0
    assert "knows no GPU as old as compute capability 3.5" in problem


def test_a_gpu_of_the_future_takes_portable_code(compiled, tmp_path):
    size, problem = compiled(tmp_path, 999)
    assert problem == ""
    assert size > 10000
    (file,) = tmp_path.iterdir()
    assert b".version" in file.read_bytes()  # PTX, which the driver compiles


def test_a_module_is_compiled_once(compiled, compiled_once, cache):
    _, size = compiled_once
    (file,) = cache.iterdir()
    kept = file.stat().st_mtime_ns, file.read_bytes()
    assert compiled(cache, 80) == (size, "")
    assert (file.stat().st_mtime_ns, file.read_bytes()) == kept
    compiled(cache, 90)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: f[:-7],
        pytest.param(lambda _: b"", marks=pytest.mark.slow),
        pytest.param(lambda f: b"x" + f, marks=pytest.mark.slow),
    ],
)
def test_a_damaged_file_is_made_again(compiled, compiled_once, cache, damage):
    _, size = compiled_once
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert compiled(cache, 80) == (size, "")
    assert file.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.parametrize("named", [True, False])
def test_a_cache_that_cannot_be_written_is_no_error(compiled, tmp_path, named):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    size, problem = compiled(blocked / "modules" if named else "", 80)
    assert size > 10000
    assert problem == ""


def test_a_compiler_newer_than_the_driver_is_refused(compiled, tmp_path):
    size, problem = compiled(tmp_path, 80, driver=11080)
    assert size == 0
    assert "is newer than the NVIDIA driver" in problem
    assert "pip install nvidia-cuda-nvrtc-cu12" in problem
