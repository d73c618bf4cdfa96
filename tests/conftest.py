import os
from pathlib import Path

import pytest


def pytest_configure(config):
    # Keras 3 hands variables to NumPy 2 by the older protocol, as when a model is saved.
    config.addinivalue_line(
        "filterwarnings", "ignore:__array__ implementation doesn't accept:DeprecationWarning"
    )


@pytest.fixture(scope="session")
def shared_data():
    """Return the folder of real photos; tests that need it skip without it."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("FCAM_DATA", beside))
    if not folder.is_dir():
        pytest.skip("needs the photos that FCAM_DATA names")
    return folder
