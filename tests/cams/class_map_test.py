import keras
import numpy as np
import pytest

from fcam_tf.cams.class_map import ClassMapHead, HeadClassMap, of_class

L = keras.layers
MAPS = np.array([[[[0, 4], [2, 1]], [[0, 1], [0, 2]]]], np.float32)


class Means(ClassMapHead):
    """The channels are the class maps."""

    def call(self, maps):
        return [keras.ops.mean(maps[-1], axis=(1, 2)), maps[-1]]

    def compute_output_shape(self, input_shape):
        return [(None, input_shape[-1][-1]), input_shape[-1]]

    def class_map(self, top, labels):
        return of_class(top, labels)

    def losses_of(self, maps, outputs, labels):
        raise NotImplementedError


def model():
    images = keras.Input((2, 2, 2))
    top = L.Rescaling(2.0, name="twice")(images)
    return keras.Model(images, Means()([images, top])[0])


def test_gives_the_map_of_the_class_and_the_logits():
    maps, logits = HeadClassMap(model()).maps_and_logits(MAPS, [0])
    np.testing.assert_allclose(logits, [[1, 4]])
    np.testing.assert_allclose(maps, [[[0, 1], [0, 0]]])


def test_predicted_class_and_features():
    cam = HeadClassMap(model())
    expected = [[[1, 0], [0, 1 / 3]]]  # class 1: 8, 2, 2, 4
    np.testing.assert_allclose(cam(MAPS), expected, rtol=1e-6)
    features = cam.from_features(2 * MAPS, np.array([-1], np.int32), np.float32([[2, 8]]))
    np.testing.assert_allclose(features, expected, rtol=1e-6)
    assert cam.needs_only_features
    assert not HeadClassMap(model()).split.is_linear


def test_of_class_picks_for_each_image():
    two = np.concatenate([MAPS, 10 * MAPS])
    found = of_class(two, np.array([1, 0], np.int32))
    np.testing.assert_array_equal(found, np.stack([MAPS[0, ..., 1], 10 * MAPS[0, ..., 0]]))


def test_needs_such_a_head_and_no_layer():
    images = keras.Input((8, 8, 3))
    x = L.GlobalAveragePooling2D()(L.Conv2D(4, 3, name="conv")(images))
    with pytest.raises(ValueError, match="map for each class"):
        HeadClassMap(keras.Model(images, L.Dense(2)(x)))
    with pytest.raises(ValueError, match="no `layer`"):
        HeadClassMap(model(), "twice")
