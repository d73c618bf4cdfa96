from tests.ops.cc import build


@build.needs_compiler
def test_the_lattice_without_python(tmp_path):
    assert build.run(tmp_path, "permutohedral_test") == "baseline, 0 failures\n"
