"""What no part of the package does: docs/security.md says so."""

import ast
from pathlib import Path

import pytest

import fcam_tf

ROOT = Path(fcam_tf.__file__).parent
RUNS = {"eval", "exec", "compile", "__import__"}
LOADERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}
# Unpickles with a `find_class` that refuses all but tensors; torch_file_test.py holds it to that.
READERS = {"models/torch_file.py": {"pickle"}}
# The file of --import is the user's own code.
RUNNERS = {"commands/model.py"}


def found_in(text):
    """Return what is called or imported that runs what it reads."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names} & {*LOADERS, "runpy"}
        elif isinstance(node, ast.ImportFrom):
            found |= {(node.module or "").split(".")[0]} & {*LOADERS, "runpy"}
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "id", None)
            found |= {name} & RUNS
            values = {each.arg: getattr(each.value, "value", None) for each in node.keywords}
            of = getattr(getattr(node.func, "value", None), "id", "")
            unsafe = {"allow_pickle": True, "safe_mode": False, "shell": True}
            found |= {key for key, value in unsafe.items() if values.get(key) is value}
            found |= {getattr(node.func, "attr", "")} & {"system", "popen"} if of == "os" else set()
    return found


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("import pickle.x", {"pickle"}),
        ("from yaml import load", {"yaml"}),
        ("eval('1')", {"eval"}),
        ("np.load(f, allow_pickle=True)", {"allow_pickle"}),
        ("np.load(f)", set()),
        ("keras.models.load_model(f, safe_mode=False)", {"safe_mode"}),
        ("os.system('ls')", {"system"}),
        ("model.eval(); platform.system()", set()),
    ],
)
def test_what_is_looked_for_is_found(text, what):
    assert found_in(text) == what


def test_nothing_that_is_read_is_run():
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        allowed = READERS.get(name, set()) | ({"runpy"} if name in RUNNERS else set())
        assert found_in(path.read_text("utf-8")) == allowed, name
