from tests.ops.cc import build


@build.needs_compiler
def test_the_lattice_without_python(tmp_path):
    program = build.compiled(tmp_path / "test", ("permutohedral_test", *build.LATTICE))
    assert build.run(program) == "baseline, 0 failures\n"
