import pytest

from tests.ops.cc import build


@build.needs_compiler
@pytest.mark.parametrize(
    "arguments", [pytest.param(["quick"], id="quick"), pytest.param([], marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("program", ["cuda_lattice_test", "cuda_mean_field_test"])
def test_the_gpu_lattice_without_a_gpu(program, arguments, tmp_path):
    names = (program, *build.CUDA, *build.LATTICE)
    assert build.run(build.compiled(tmp_path / "test", names), *arguments) == "0 failures\n"
