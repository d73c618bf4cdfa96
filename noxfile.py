"""The fast suite in each combination of Python, TensorFlow and Keras: ``make test-matrix``.

    nox --list                                              # the cells
    nox --python 3.11 --keywords 'tf2_19 and keras3_12'     # one of them
    nox --python 3.11 -- tests/cams -n 2                    # what follows "--" is for pytest

Each cell has an environment of its own in ``.nox/``. What came out is in ``matrix-output/``: files
of each cell, and ``table.md`` of all that ran.
"""

import json
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import nox

nox.needs_version = ">=2025.2"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False

PYTHONS = ("3.11", "3.12", "3.13")
TENSORFLOW = ("2.19", "2.21")  # the oldest and the newest that pyproject.toml allows
KERAS = ("3.12", "3.15")
OUT = Path("matrix-output")
INSTALLED = ("tensorflow", "keras", "keras-hub", "numpy")
COLUMNS = ("python", *INSTALLED, "result", "minutes")


def _named(package: str, versions: tuple[str, ...]) -> list[Any]:
    return [nox.param(each, id=f"{package}{each.replace('.', '_')}") for each in versions]


@nox.session(python=PYTHONS, venv_backend="uv", venv_params=["--seed"])  # pip, for its tests
@nox.parametrize("keras", _named("keras", KERAS))
@nox.parametrize("tensorflow", _named("tf", TENSORFLOW))
def matrix(session: nox.Session, tensorflow: str, keras: str) -> None:
    """Install one combination and run the fast suite in it."""
    OUT.mkdir(exist_ok=True)
    cell = OUT / f"py{session.python}-tf{tensorflow}-keras{keras}"
    row = {"python": session.python, "tensorflow": tensorflow, "keras": keras}
    wanted = [f"tensorflow~={tensorflow}.0", f"keras~={keras}.0"]
    # Where there are no wheels uv says so, before anything is downloaded.
    command = ["uv", "pip", "install", "--dry-run", "--only-binary", "tensorflow", *wanted]
    said = session.run(*command, silent=True, external=True, success_codes=[*range(256)])
    if "error: " in said:
        lines = said.strip().splitlines()
        reason = next((x for x in lines if x.startswith("hint:")), lines[-1])
        _write(cell, row | {"result": f"cannot be installed: {reason.removeprefix('hint: ')}"})
        session.skip(reason)
    if tensorflow == "2.19":  # docs/dependencies.md
        wanted.append("tensorflow-metadata<1.17")
    session.install("--editable", ".[dev]", *wanted)
    code = f"import importlib.metadata as m; print(*map(m.version, {INSTALLED}))"
    said = session.run("python", "-c", code, silent=True)
    row |= dict(zip(INSTALLED, said.split(), strict=True))

    report, began = cell.with_name(f"{cell.name}.xml"), time.monotonic()
    command = ["python", "-m", "pytest", "-q", "-m", "not slow", f"--junitxml={report}"]
    session.run(*command, *(session.posargs or ["-n", "logical"]), success_codes=[0, 1])
    suite = ET.parse(report).getroot()[0]  # noqa: S314 - pytest wrote it
    count = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    passed = count["tests"] - failed - count["skipped"]
    result = f"{passed} passed, {failed} failed, {count['skipped']} skipped"
    _write(cell, row | {"result": result, "minutes": round((time.monotonic() - began) / 60)})
    if failed:
        session.error(result)


def _write(cell: Path, row: dict[str, Any]) -> None:
    """Keep the row of a cell, and write the table anew."""
    cell.with_name(f"{cell.name}.json").write_text(json.dumps(row))
    rows = [json.loads(path.read_text()) for path in sorted(OUT.glob("*.json"))]
    lines = [list(COLUMNS), ["---"] * len(COLUMNS)]
    lines += [[str(row.get(column, "-")) for column in COLUMNS] for row in rows]
    text = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    (OUT / "table.md").write_text(text)
