import numpy as np
import pytest

from fcam_tf.cams import tokens


def test_tokens_are_rows_of_a_map_behind_extra_ones():
    rows = np.arange(2 * 8 * 3, dtype="float32").reshape(2, 8, 3)
    maps = np.asarray(tokens.to_map(rows, (2, 3)))
    assert maps.shape == (2, 2, 3, 3)
    np.testing.assert_array_equal(maps[1, 1, 2], rows[1, 7])
    np.testing.assert_array_equal(maps[0, 0, 0], rows[0, 2])
    np.testing.assert_array_equal(tokens.to_tokens(maps, (2, 3)), rows[:, 2:])
    assert tokens.to_map(maps, None) is maps


@pytest.mark.parametrize(
    ("number", "sides", "maps", "grid"),
    [
        (196, (224, 224), [], (14, 14)),
        (197, (224, 224), [], (14, 14)),  # a class token
        (198, (224, 224), [], (14, 14)),  # and one of distillation
        (201, (224, 224), [], (14, 14)),  # and four registers
        (257, (224, 224), [], (16, 16)),  # patches of 14 pixels
        (25, (32, 48), [], (4, 6)),
        (205, (224, 224), [], None),
        (50, (224, 225), [], None),  # no squares of whole pixels
        (64, (32, 32), [(8, 8)], (8, 8)),
        (16, (32, 32), [(8, 16)], None),  # columns: what they were made of has other cells
        (65, (32, 32), [(4, 4), (8, 8)], (8, 8)),
        (None, (None, None), [], None),
    ],
)
def test_grids(number, sides, maps, grid):
    assert tokens.find_grid(number, sides, maps) == grid
