import os
from pathlib import Path

import pytest

from fcam_tf.data import write_shapes


@pytest.fixture(scope="session")
def real_data():
    """Folder with pets3 and tiny10."""
    repository = Path(__file__).parents[2]
    shared = Path(os.environ.get("FCAM_DATA", repository.parent / "shared"))
    for folder in (shared / "data", shared):
        if (folder / "pets3").is_dir():
            return folder
    pytest.skip("no real data beside the repository")


@pytest.fixture
def shapes(tmp_path):
    """A small generated data set."""
    return write_shapes(tmp_path / "shapes", {"train": 10, "test": 5}, size=48)
