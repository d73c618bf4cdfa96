import dataclasses
from pathlib import Path

import numpy as np
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


def test_some_of_each_class_are_drawn_always_the_same(shapes):
    split = load_wsol(shapes, "test")
    split = dataclasses.replace(split, labels=np.array([0, 1, 1, 1, 3]))
    few = split.drawn(2)
    assert few.ids == split.drawn(2).ids
    assert np.bincount(few.labels).tolist() == [1, 2, 0, 1]
    places = [split.ids.index(name) for name in few.ids]
    assert places == sorted(places)
    assert few.boxes[0].tolist() == split.boxes[places[0]].tolist()
    assert split.drawn(100).ids == split.ids
    assert {*split.drawn(1).ids} < {*few.ids}  # fewer are among more
