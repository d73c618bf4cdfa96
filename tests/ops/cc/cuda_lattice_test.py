from tests.ops.cc import build


@build.needs_compiler
def test_the_gpu_lattice_without_a_gpu(tmp_path):
    names = ("cuda_lattice_test", "cuda_lattice", "cuda_device")
    program = build.compiled(tmp_path / "test", names, ["-Wno-unknown-pragmas"])
    assert build.run(program) == "0 failures\n"
