import dataclasses
from pathlib import Path

import pytest

from fcam_tf.data import DataError, Problem, load_wsol


@pytest.mark.parametrize(
    ("count", "names", "same"),
    [
        (5, None, True),
        (4, None, False),
        (5, ("Disc", "square", "triangle", "cross", "star "), True),
        (5, ("star", "square", "triangle", "cross", "disc"), False),
    ],
)
def test_classes_of_a_model(shapes, count, names, same):
    split = load_wsol(shapes, "test")
    assert split.has_classes(count, names) is same
    numbered = dataclasses.replace(split, class_names=tuple("01234"))
    assert numbered.has_classes(count, names) is (count == 5)


@pytest.mark.parametrize(("count", "says"), [(1, "1 problem in"), (2, "2 problems in")])
def test_problems_are_counted(count, says):
    assert str(DataError([Problem(Path("a"), 1, "x")] * count)).startswith(says)
