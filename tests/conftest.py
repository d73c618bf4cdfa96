import os
from pathlib import Path

import hypothesis
import pytest

# In CI the same examples each time: new ones are looked for where somebody looks at what they find.
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


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
