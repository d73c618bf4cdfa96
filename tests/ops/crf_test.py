import contextlib
import unittest.mock

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fcam_tf.ops import dense_crf, loader
from tests.ops.examples import photos, soft_maps
from tests.ops.lattice_oracle import Lattice
from tests.ops.mean_field_oracle import exact, mean_field, softmax


def energies(*shape, seed=0):
    return -np.log(soft_maps(np.random.default_rng(seed), *shape))


@pytest.mark.parametrize(
    ("size", "classes"),
    [
        *(((24, 17), classes) for classes in (1, 2, 3, 4, 8, 21)),
        *(((1, 30), 5), ((19, 1), 2), ((1, 1), 3)),
    ],
)
def test_is_mean_field_on_the_lattice(backend, size, classes):
    del backend
    unaries = energies(1, *size, classes)
    rng = np.random.default_rng(3)
    image = photos(32, 1)[:, : size[0], : size[1]]
    lattice = Lattice(image[0], 30, 20).filter
    kernels = [(3, lattice), (2, exact(image[0], 1.5))]
    for mu in (None, rng.uniform(0, 2, (classes, classes))):
        got = dense_crf(
            images=image,
            unaries=unaries,
            bilateral=(3, 20, 30),
            spatial=(2, 1.5),
            compatibility=mu,
        )
        np.testing.assert_allclose(got[0], mean_field(unaries[0], kernels, mu, 5), atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_is_near_mean_field_with_exact_kernels(backend, channels):
    del backend
    images = photos(32)[..., :channels]
    unaries = energies(3, 32, 32, 3)
    got = dense_crf(images=images, unaries=unaries, bilateral=(4, 10, 25), spatial=(1, 2))
    for image, unary, marginals in zip(images, unaries, got, strict=True):
        kernels = [(4, exact(image, 10, 25)), (1, exact(image, 2))]
        expected = mean_field(unary, kernels, None, 5)
        before = np.abs(softmax(-unary) - expected).mean()
        assert np.abs(marginals - expected).mean() < 0.1 * before


# With a sigma of 3, every second row and column is kept, with 8 every fourth, with 12 all.
@pytest.mark.parametrize(
    ("height", "sigma"), [*((21, sigma) for sigma in (0.1, 1, 3, 12, 500)), (60, 8)]
)
def test_the_spatial_kernel_is_exact(backend, height, sigma):
    del backend
    unaries = energies(1, height, 34, 3)
    image = photos(60, 1)[:, :height, :34]
    got = dense_crf(images=image, unaries=unaries, bilateral=None, spatial=(5, sigma))
    expected = mean_field(unaries[0], [(5, exact(image[0], sigma))], None, 5)
    np.testing.assert_allclose(got[0], expected, atol=2e-5)


def test_probabilities_are_clipped_and_become_energies(backend):
    del backend
    image, maps = photos(16, 1), soft_maps(np.random.default_rng(1), 1, 16, 16, 2)
    maps[0, :4] = 0, 1
    got = dense_crf(maps, image)
    unaries = -np.log(np.clip(maps, 1e-5, 1))
    np.testing.assert_allclose(got, dense_crf(images=image, unaries=unaries), atol=1e-6)
    np.testing.assert_allclose(dense_crf(maps, image, iterations=0), maps, atol=2e-5)


@pytest.mark.parametrize("classes", [2, 3, 5, 8, 21])
def test_without_iterations_it_is_the_softmax(backend, classes):
    del backend
    unaries = np.random.default_rng(5).uniform(-40, 40, (1, 30, 31, classes)).astype(np.float32)
    got = dense_crf(images=photos(31, 1)[:, :30], unaries=unaries, iterations=0)
    np.testing.assert_allclose(got, softmax(-unaries.astype(float)), rtol=1e-5, atol=1e-37)


def test_energies_far_apart_are_certain(backend):
    del backend
    for classes in (2, 21):
        unaries = np.full((1, 9, 8, classes), 1e30, np.float32)
        unaries[..., 1] = -1e30
        got = dense_crf(images=photos(9, 1)[:, :, :8], unaries=unaries, spatial=(2, 3))
        np.testing.assert_allclose(got, np.broadcast_to(np.eye(classes)[1], got.shape), atol=1e-6)


def test_what_comes_in_goes_out(backend):
    del backend
    image, maps = photos(12, 1), soft_maps(np.random.default_rng(1), 1, 12, 12, 2)
    plain = dense_crf(maps, image)
    assert isinstance(plain, np.ndarray)
    assert plain.dtype == np.float32
    tensor = dense_crf(tf.constant(maps, tf.float16), image)
    assert isinstance(tensor, tf.Tensor)
    assert tensor.dtype == tf.float32
    np.testing.assert_allclose(tensor, plain, atol=5e-3)
    np.testing.assert_allclose(dense_crf(maps.astype(float), image.astype(float)), plain, atol=1e-5)


def test_runs_where_the_compiled_operations_do(backend, monkeypatch):
    device = unittest.mock.Mock(side_effect=contextlib.nullcontext)
    monkeypatch.setattr(loader, "device", device)
    dense_crf(np.full((1, 4, 4, 2), 0.5, np.float32), photos(4, 1), bilateral=None)
    assert device.call_count == (backend == "native")


def test_runs_in_a_graph_of_unknown_size(backend):
    del backend

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, None, 2), tf.float32),
            tf.TensorSpec((None, None, None, 3), tf.uint8),
        ]
    )
    def run(maps, images):
        return dense_crf(maps, images, spatial=(1, 2), iterations=2)

    for batch, size in ((2, 9), (1, 14)):
        maps = soft_maps(np.random.default_rng(1), batch, size, size, 2)
        images = photos(size, batch)
        expected = dense_crf(maps, images, spatial=(1, 2), iterations=2)
        np.testing.assert_allclose(run(maps, images), expected, atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError):
        run(soft_maps(np.random.default_rng(1), 1, 8, 8, 2), photos(9, 1))


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    classes=st.integers(1, 24),
    sigma_rgb=st.floats(2, 300),
    sigma_xy=st.floats(0.5, 300),
    weight=st.floats(0, 20),
    seed=st.integers(0, 1000),
)
def test_marginals_are_probabilities(height, width, classes, sigma_rgb, sigma_xy, weight, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (1, height, width, 3)).astype(np.uint8)
    unaries = 10 * rng.normal(size=(1, height, width, classes)).astype(np.float32)
    arguments = {
        "images": image,
        "bilateral": (weight, sigma_xy, sigma_rgb),
        "spatial": (weight, sigma_xy),
    }
    q = dense_crf(unaries=unaries, **arguments)
    np.testing.assert_allclose(q.sum(-1), 1, atol=1e-5)
    assert q.min() >= 0
    # Energies are relative to each pixel, and classes have no order.
    shift = rng.normal(size=(1, height, width, 1)).astype(np.float32)
    np.testing.assert_allclose(dense_crf(unaries=unaries + shift, **arguments), q, atol=2e-3)
    order = rng.permutation(classes)
    np.testing.assert_allclose(
        dense_crf(unaries=unaries[..., order], **arguments), q[..., order], atol=2e-3
    )


def test_a_constant_map_stays_and_one_class_is_refused(backend):
    del backend
    image = photos(20, 1)
    half = np.full((1, 20, 20, 2), 0.5, np.float32)
    np.testing.assert_allclose(dense_crf(half, image, spatial=(3, 3)), 0.5, atol=1e-6)
    with pytest.raises(ValueError, match="`probabilities` must be of two classes or more"):
        dense_crf(half[..., :1], image)


def test_on_an_image_of_one_colour_noise_is_smoothed(backend):
    del backend
    image = np.full((1, 24, 24, 3), 90, np.uint8)
    maps = np.full((1, 24, 24, 2), (0.3, 0.7), np.float32)
    maps[0, ::5, ::5] = 0.6, 0.4
    assert (dense_crf(maps, image, bilateral=(4, 8, 15))[..., 1] > 0.5).all()


def test_the_edge_of_a_map_moves_to_that_of_the_image(backend):
    del backend
    image = np.zeros((1, 24, 24, 3), np.uint8)
    image[:, :, 12:] = 200
    maps = np.full((1, 24, 24, 2), (0.8, 0.2), np.float32)
    maps[:, :, 9:] = 0.2, 0.8
    q = dense_crf(maps, image, bilateral=(8, 100, 15))[0, ..., 1]
    np.testing.assert_array_equal(q > 0.5, image[0, ..., 0] > 0)


def test_potts_is_a_matrix_like_others(backend):
    del backend
    image, unaries = photos(18, 1), energies(1, 18, 18, 4)
    arguments = {"images": image, "unaries": unaries, "spatial": (2, 3)}
    potts = dense_crf(**arguments)
    for matrix in (1 - np.eye(4), -np.eye(4)):
        np.testing.assert_allclose(dense_crf(**arguments, compatibility=matrix), potts, atol=1e-5)


def test_arrays_of_energies_are_read_whatever_their_layout(backend):
    del backend
    image, unaries = photos(18, 1), energies(1, 18, 18, 4).astype(np.float32)
    expected = dense_crf(images=image, unaries=tf.constant(unaries)).numpy()
    classes_first = np.ascontiguousarray(np.moveaxis(unaries, -1, 0))
    for same in (unaries, unaries.astype(float), np.moveaxis(classes_first, 0, -1)):
        np.testing.assert_array_equal(dense_crf(images=image, unaries=same), expected)


def test_images_of_a_batch_are_independent(backend):
    del backend
    images, unaries = photos(20), energies(3, 20, 20, 2)
    together = dense_crf(images=images, unaries=unaries, spatial=(1, 2))
    for n in range(3):
        alone = dense_crf(images=images[n : n + 1], unaries=unaries[n : n + 1], spatial=(1, 2))
        np.testing.assert_allclose(alone[0], together[n], atol=1e-6)


def test_gradient_is_that_of_the_unrolled_iterations(backend):
    del backend
    rng = np.random.default_rng(4)
    image = photos(14, 1)
    unaries, step = (tf.constant(energies(1, 14, 14, 3, seed=seed)) for seed in (0, 1))
    matrix = tf.constant(rng.uniform(0, 1, (3, 3)), tf.float32)
    slope = tf.constant(rng.normal(size=(1, 14, 14, 3)), tf.float32)

    def score(unaries, matrix):
        q = dense_crf(images=image, unaries=unaries, spatial=(1, 2), compatibility=matrix)
        return tf.reduce_sum(slope * q)

    with tf.GradientTape() as tape:
        tape.watch([unaries, matrix])
        value = score(unaries, matrix)
    by_unaries, by_matrix = tape.gradient(value, [unaries, matrix])
    small = 1e-2
    for gradient, direction, moved in (
        (by_unaries, step, lambda size: score(unaries + size * step, matrix)),
        (by_matrix, matrix, lambda size: score(unaries, matrix + size * matrix)),
    ):
        difference = (moved(small) - moved(-small)) / (2 * small)
        expected = tf.reduce_sum(gradient * direction)
        np.testing.assert_allclose(difference, expected, rtol=2e-2, atol=2e-3)


def test_empty_batches_pass(backend):
    del backend
    for shape in ((0, 4, 4), (2, 0, 4)):
        maps, images = np.zeros((*shape, 2), np.float32), np.zeros((*shape, 3), np.uint8)
        assert dense_crf(maps, images, spatial=(1, 2)).shape == (*shape, 2)


def test_bad_input_is_named(backend):
    del backend
    image, maps = np.zeros((1, 4, 5, 3), np.uint8), np.full((1, 4, 5, 2), 0.5, np.float32)
    with pytest.raises(TypeError, match=r"either `probabilities` or `unaries`.*probabilities, im"):
        dense_crf(maps, image, unaries=maps)
    with pytest.raises(TypeError, match="probabilities of them"):
        dense_crf(maps)
    with pytest.raises(ValueError, match=r"\(1, 4, 5\).*np.stack"):
        dense_crf(maps[..., 0], image)
    with pytest.raises(ValueError, match=r"\(1, 5, 4, 2\).*\(1, 4, 5, 3\)"):
        dense_crf(maps.reshape(1, 5, 4, 2), image)
    with pytest.raises(ValueError, match="1 or 3 channels"):
        dense_crf(maps, image[..., :2])
    with pytest.raises(ValueError, match=r"`bilateral` must be \(weight, sigma_xy, sigma_rgb\)"):
        dense_crf(maps, image, bilateral=(1, 2))
    with pytest.raises(ValueError, match=r"`bilateral: sigma_rgb`.*0"):
        dense_crf(maps, image, bilateral=(1, 100, 0))
    with pytest.raises(ValueError, match=r"`spatial: weight`.*-1"):
        dense_crf(maps, image, spatial=(-1, 3))
    with pytest.raises(TypeError, match=r"`spatial: sigma_xy`.*'3'"):
        dense_crf(maps, image, spatial=(1, "3"))
    with pytest.raises(ValueError, match=r"`iterations`.*-1"):
        dense_crf(maps, image, iterations=-1)
    with pytest.raises(ValueError, match=r"`compatibility` must be \(2, 2\).*\(3, 3\)"):
        dense_crf(maps, image, compatibility=np.eye(3))
    invalid = tf.errors.InvalidArgumentError
    with pytest.raises(invalid, match="`compatibility` contains NaN"):
        dense_crf(maps, image, compatibility=np.full((2, 2), np.nan))
    with pytest.raises(invalid, match="`probabilities` contain NaN"):
        dense_crf(maps + np.nan, image)
    with pytest.raises(invalid, match="`unaries` contain NaN"):
        dense_crf(images=image, unaries=maps + np.inf)
    with pytest.raises(invalid, match=r"`probabilities` must be in \[0, 1\].*`unaries=`"):
        dense_crf(3 * maps, image)
    with pytest.raises(invalid, match=r"image.*NaN"):
        dense_crf(maps, image + np.float32(np.nan))


def test_xla_is_refused():
    maps, images = tf.zeros((1, 4, 4, 2)), tf.zeros((1, 4, 4, 3))
    with pytest.raises(NotImplementedError, match="jit_compile=False"):
        tf.function(dense_crf, jit_compile=True)(maps, images)
