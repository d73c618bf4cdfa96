import keras
import pytest

from fcam_tf.graphs import graph
from fcam_tf.models.pyramid import levels
from tests.models.tiny import tiny_classifier

L = keras.layers


@pytest.mark.parametrize("size", [None, 50])
def test_last_map_of_each_resolution(size):
    model = tiny_classifier(size)
    found = levels(model, model.get_layer("relu2").output)
    assert list(found) == [1, 2, 3]
    assert [x is model.get_layer(f"relu{n - 1}").output for n, x in found.items()] == [True] * 3


def test_what_comes_after_the_top_is_left_out():
    model = tiny_classifier()
    assert list(levels(model, model.get_layer("bn1").output)) == [1, 2]


def test_branches_beside_the_top_are_left_out():
    images = L.Input((32, 32, 3))
    a = L.Conv2D(4, 3, 4, padding="same")(images)
    b = L.Conv2D(4, 3, 2, padding="same")(images)
    x = L.Concatenate()([L.GlobalAveragePooling2D()(a), L.GlobalAveragePooling2D()(b)])
    model = graph.flatten(keras.Model(images, L.Dense(2)(x)))
    assert list(levels(model, a)) == [2]


def test_nothing_to_refine():
    images = L.Input((32, 32, 3))
    top = L.Conv2D(4, 3, padding="same")(images)
    model = keras.Model(images, L.Dense(2)(L.GlobalAveragePooling2D()(top)))
    with pytest.raises(ValueError, match="as large as the image"):
        levels(model, top)
