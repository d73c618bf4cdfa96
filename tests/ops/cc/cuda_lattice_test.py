from tests.ops.cc import build


@build.needs_compiler
def test_the_gpu_lattice_without_a_gpu(tmp_path):
    programs = ("cuda_lattice_test", "cuda_lattice", "cuda_device")
    assert build.run(tmp_path, *programs, options=["-Wno-unknown-pragmas"]) == "0 failures\n"
