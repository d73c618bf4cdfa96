import pytest

from tests.ops.cc import build


@build.needs_compiler
@pytest.mark.parametrize(
    "arguments", [pytest.param(["quick"], id="quick"), pytest.param([], marks=pytest.mark.slow)]
)
def test_the_gpu_lattice_without_a_gpu(arguments, tmp_path):
    names = ("cuda_lattice_test", "cuda_lattice", "cuda_device", *build.LATTICE)
    assert build.run(build.compiled(tmp_path / "test", names), *arguments) == "0 failures\n"
