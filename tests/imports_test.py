"""The architecture: which package may import which, and how cheap the package is to import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fcam_tf"
# A package imports itself, and packages of its own or a lower level as long as no circle forms.
LEVELS = {
    "cli": 3,
    "commands": 3,
    "paper": 2,
    "predict": 2,
    "evaluation": 2,
    "explain": 2,
    "answers": 2,
    "export": 2,
    "portable": 2,
    "layouts": 2,
    "serving": 2,
    "report": 2,
    "scale": 2,
    "training": 2,
    "zoo": 2,
    "visualize": 2,
    "models": 1,
    "cams": 1,
    "baselines": 1,
    "data": 1,
    "metrics": 1,
    "losses": 1,
    "compat": 1,
    "photos": 1,
    "refine": 1,
    "identity": 1,
    "graphs": 0,
    "fonts": 0,
    "localization": 0,
    "optimizer": 0,
    "ops": 0,
    "addresses": 0,
    "atomic": 0,
    "cache": 0,
    "checks": 0,
    "claim": 0,
    "lazy_tensorflow": 0,
    "grey_levels": 0,
    "masks": 0,
    "streams": 0,
    "names": 0,
}
ALONE = ("ops", "metrics", "data")  # import nothing of ours but small helpers
HELPERS = (
    *("atomic", "cache", "checks", "grey_levels", "lazy_tensorflow", "masks", "names", "photos"),
)
OF_SEVERAL = (
    "imports_test.py",
    "docs_test.py",
    "messages_test.py",
    "heads_test.py",
    "benches_test.py",
    "safety_test.py",
    "soak_test.py",
    "pydensecrf_test.py",  # against another library
)
FILES = sorted(PACKAGE.rglob("*.py"))


def package(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path):
    """Return the dotted names that a file imports, inside functions too."""
    names = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def edges():
    found = set()
    for path in FILES:
        if path.parent == PACKAGE and path.stem in ("__init__", "__main__"):
            continue
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "fcam_tf" and parts[-1] != "fcam_tf" and parts[1] in LEVELS:
                found.add((package(path), parts[1]))
    return sorted((a, b) for a, b in found if a != b)


def test_reads_the_package():
    assert ("cams", "graphs") in edges()
    assert "keras_cv" in imported(PACKAGE / "models" / "backbones.py")


def test_every_package_has_a_level():
    packages = {package(path) for path in FILES} - {"__init__", "__main__"}
    assert packages <= set(LEVELS), "give a new package its level here"


@pytest.mark.parametrize(("user", "used"), edges())
def test_direction(user, used):
    assert LEVELS[user] >= LEVELS[used]
    assert user not in ALONE or used in HELPERS


def test_no_circles():
    graph = {}
    for user, used in edges():
        graph.setdefault(user, set()).add(used)

    def reachable(start):
        seen, waiting = set(), [start]
        while waiting:
            for used in graph.get(waiting.pop(), set()) - seen:
                seen.add(used)
                waiting.append(used)
        return seen

    assert not [user for user in graph if user in reachable(user)]


@pytest.mark.parametrize(
    ("name", "users"),
    [
        ("keras_cv", {"models/backbones.py"}),
        ("keras_hub", {"models/hub.py"}),
        ("fcam_tf.ops", {"losses/crf.py", "compat/densecrf.py", "refine.py"}),
    ],
)
def test_only_one_file_imports(name, users):
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        if any(f"{other}.".startswith(f"{name}.") for other in imported(path))
    }
    assert {path for path in found if not path.startswith("ops/")} <= users


def test_tests_mirror_sources():
    for test in (ROOT / "tests").rglob("*_test.py"):
        path = test.relative_to(ROOT / "tests")
        if path.parts[0] in ("conformance", "faults") or path.name in OF_SEVERAL:
            continue
        stem = path.stem.removesuffix("_test")
        stem = "__init__" if stem == "init" else stem
        package = ROOT if path.parts[0] == "tools" else PACKAGE
        parts = stem.split("_")  # of a file, perhaps with the topic of its tests
        stems = ["_".join(parts[:n]) for n in range(1, len(parts) + 1)]
        sources = [(package / path).with_name(f"{s}{end}") for s in stems for end in (".py", ".cc")]
        assert any(source.exists() for source in sources), f"{test} tests no file"


@pytest.mark.parametrize(
    "source",
    [p for p in FILES if package(p) in ("graphs", "models", "cams") and p.stem != "__init__"],
    ids=lambda p: p.relative_to(PACKAGE).as_posix(),
)
def test_sources_have_tests(source):
    test = (ROOT / "tests" / source.relative_to(PACKAGE)).with_name(f"{source.stem}_test.py")
    assert test.exists()


def run_fresh(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout


def test_import_loads_no_tensorflow():
    code = (
        "import sys, time; start = time.perf_counter(); import fcam_tf;"
        "print(time.perf_counter() - start);"
        "print([m for m in ('tensorflow', 'keras', 'keras_cv', 'numpy') if m in sys.modules])"
    )
    # The best of three, as another process may take the core.
    runs = [run_fresh(code).splitlines() for _ in range(3)]
    assert {run[1] for run in runs} == {"[]"}
    assert min(float(run[0]) for run in runs) < 0.3


@pytest.mark.slow
def test_subpackages_load_on_use():
    code = (
        "import sys, fcam_tf; fcam_tf.models; print('keras' in sys.modules);"
        "print('models' in dir(fcam_tf), 'keras_cv' in sys.modules)"
    )
    assert run_fresh(code).split() == ["True", "True", "False"]


def test_unknown_attribute():
    import fcam_tf  # noqa: PLC0415

    with pytest.raises(AttributeError, match="nonsense"):
        _ = fcam_tf.nonsense
