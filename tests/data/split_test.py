import dataclasses

import pytest

from fcam_tf.data import load_wsol


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
