import runpy
from pathlib import Path

import pytest

FAKE = Path(__file__).with_name("fake.py")


@pytest.fixture
def fake_program():
    """The path of a program: fake.py OUT PHOTO..."""
    return FAKE


@pytest.fixture
def fake_localizer():
    """The class of a localizer that needs no model."""
    return runpy.run_path(str(FAKE))["FakeLocalizer"]
