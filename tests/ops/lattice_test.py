import numpy as np
import pytest
import tensorflow as tf

from fcam_tf.ops import bilateral_filter, dense_bilateral_filter
from fcam_tf.ops import lattice as tensorflow_lattice
from tests.ops.examples import photos, soft_maps
from tests.ops.lattice_oracle import Lattice


@pytest.mark.parametrize("channels", [1, 3])
def test_same_vertices_as_the_oracle(channels):
    image = photos(32, 1)[0, ..., :channels]
    ours = tensorflow_lattice._build(tf.constant(image), 15.0, 50.0)
    oracle = Lattice(image, 15, 50)
    assert int(ours.vertices) == oracle.vertices
    np.testing.assert_allclose(np.sort(ours.weights), np.sort(oracle.weights), atol=1e-6)


def test_the_lattice_resembles_the_gaussian():
    # Measured on eight photos at 112 pixels: a factor of 1.61 to 1.88, 0.063 left after it.
    images = photos(56)
    values = soft_maps(np.random.default_rng(0), 3, 56, 56, 2)
    for image, value in zip(images, values, strict=True):
        ours = np.asarray(bilateral_filter(value[None], image[None], 15, 25)).ravel()
        exact = np.asarray(dense_bilateral_filter(value[None], image[None], 15, 25)).ravel()
        factor = (ours @ exact) / (ours @ ours)
        assert 1.5 < factor < 2.0
        assert np.linalg.norm(factor * ours - exact) / np.linalg.norm(exact) < 0.12
        assert np.corrcoef(ours, exact)[0, 1] > 0.98


def test_runs_in_a_graph_of_unknown_size():
    run = tf.function(
        lambda images, values: tensorflow_lattice.filter_batch(values, images, 15.0, 50.0, False),
        input_signature=[
            tf.TensorSpec((None, None, None, 3), tf.uint8),
            tf.TensorSpec((None, None, None, 2), tf.float32),
        ],
    )
    images, values = photos(24, 2), soft_maps(np.random.default_rng(1), 2, 24, 24, 2)
    np.testing.assert_allclose(
        run(images, values), bilateral_filter(values, images, 15, 50), rtol=1e-4
    )
