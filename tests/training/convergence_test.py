import numpy as np
import pytest
from PIL import Image

from fcam_tf.training.convergence import draw_convergence

ROWS = [
    {"epoch": 0, "val_PxAP": 40.0},
    {"epoch": 1, "val_PxAP": 60.0, "loss": -0.3, "seeds_loss": 0.7, "size_loss": -1.0},
    {"epoch": 2, "val_PxAP": 55.0, "loss": -0.5, "seeds_loss": 0.5, "size_loss": -1.0},
]


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], [{"epoch": 0}], []])
def test_draws(rows, tmp_path):
    path = tmp_path / "a.png"
    draw_convergence(rows, 0 if rows else None, path)
    drawn = np.asarray(Image.open(path).convert("L")).std() > 0
    assert drawn == any(len(row) > 1 for row in rows)
