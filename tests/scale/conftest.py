import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def forty(tmp_path_factory):
    """Return a folder of 40 photos: two batches and a half."""
    folder = tmp_path_factory.mktemp("forty")
    rng = np.random.default_rng(0)
    for number in range(40):
        pixels = rng.integers(0, 256, (20, 24, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return folder
