import importlib.util
import os
from pathlib import Path

import pytest


def _shared():
    repository = Path(__file__).parents[2]
    return Path(os.environ.get("FCAM_DATA", repository.parent / "shared"))


@pytest.fixture(scope="session")
def vectors():
    """The module that rebuilds the reference's inputs, and its expected outputs."""
    for folder in (_shared() / "conformance", _shared().parent / "conformance"):
        path = folder / "wsol_conformance_inputs.py"
        if path.exists():
            spec = importlib.util.spec_from_file_location("wsol_conformance_inputs", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module, module.load(folder / "wsol_conformance.json")
    pytest.skip("no conformance vectors beside the repository")


@pytest.fixture(scope="session")
def metadata():
    """The benchmark's own metadata folder, for the Center baseline."""
    for folder in (_shared() / "metadata", _shared() / "data" / "metadata", _shared().parent):
        if (folder / "CUB" / "test" / "localization.txt").exists():
            return folder
    pytest.skip("no benchmark metadata beside the repository")
