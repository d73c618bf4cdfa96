import concurrent.futures
import resource

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fcam_tf.ops import bilateral_filter, loader
from fcam_tf.ops.bilateral import crf_loss_and_gradient
from tests.children import Child
from tests.ops.examples import photos, soft_maps
from tests.ops.lattice_oracle import Lattice, crf_loss


def relative(got, expected):
    return np.linalg.norm(got - expected) / np.linalg.norm(expected)


def loss_and_gradient(images, maps, sigma_rgb=15.0, sigma_xy=50.0, symmetric=True):
    loss, gradient = crf_loss_and_gradient(
        tf.constant(images), tf.constant(maps), sigma_rgb, sigma_xy, symmetric=symmetric
    )
    return loss.numpy(), gradient.numpy()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_filter_is_the_lattice_of_the_paper(backend, channels, dtype):
    del backend
    images = photos(40)[..., :channels].astype(dtype)
    values = np.random.default_rng(0).normal(size=(3, 40, 40, 4)).astype(np.float32)
    filtered = bilateral_filter(values, images, 15, 50).numpy()
    for image, value, got in zip(images, values, filtered, strict=True):
        assert relative(got, Lattice(image, 15, 50).filter(value)) < 1e-5


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(
    ("size", "classes", "sigma_rgb", "sigma_xy"),
    [
        ((48, 48), 2, 15, 100),
        ((1, 1), 2, 15, 100),
        ((1, 37), 3, 15, 100),
        ((53, 1), 1, 15, 20),
        ((31, 45), 4, 15, 50),
        ((24, 24), 21, 30, 30),
        ((40, 40), 2, 5, 20),  # hashed addresses
    ],
)
def test_loss_and_gradient_are_those_of_the_oracle(
    backend, size, classes, sigma_rgb, sigma_xy, symmetric
):
    del backend
    rng = np.random.default_rng(1)
    image = photos(64, 1)[:, : size[0], : size[1]]
    maps = soft_maps(rng, 1, *size, classes)
    loss, gradient = loss_and_gradient(image, maps, sigma_rgb, sigma_xy, symmetric)
    expected, slope = crf_loss(image[0], maps[0].astype(float), sigma_rgb, sigma_xy, symmetric)
    np.testing.assert_allclose(loss[0], expected, rtol=1e-5, atol=1e-5 * abs(slope).sum())
    assert relative(gradient[0], slope) < 1e-5 or np.abs(slope).max() < 1e-3


@pytest.mark.parametrize(
    ("sigma_rgb", "sigma_xy"),
    [(1.0, 2.0), (0.02, 0.02)],  # addresses of 64 bits, and more than fit these
)
def test_small_sigmas_are_a_matter_of_precision_only(backend, sigma_rgb, sigma_xy):
    del backend
    rng = np.random.default_rng(6)
    image = photos(24, 1)
    maps = soft_maps(rng, 1, 24, 24, 2)
    loss, gradient = loss_and_gradient(image, maps, sigma_rgb, sigma_xy)
    expected, slope = crf_loss(image[0], maps[0].astype(float), sigma_rgb, sigma_xy)
    np.testing.assert_allclose(loss[0], expected, rtol=1e-2)
    assert relative(gradient[0], slope) < 1e-2


def test_a_large_image():
    rng = np.random.default_rng(7)
    image = np.kron(rng.integers(0, 256, (1, 70, 100, 3)), np.ones((1, 10, 10, 1))).astype(np.uint8)
    a, b = rng.normal(size=(2, 1, 700, 1000, 2)).astype(np.float32)
    values = tf.Variable(a)
    with tf.GradientTape() as tape:
        filtered = bilateral_filter(values, image, 15, 100)
        score = tf.reduce_sum(filtered * b)
    transposed = tape.gradient(score, values).numpy()
    assert dual(a, b, filtered.numpy(), transposed) < 1e-6


def dual(a, b, forward, transposed):
    """Return how far b . W a and W' b . a are apart, as a part of what they may reach."""
    difference = np.vdot(b.astype(float), forward) - np.vdot(a.astype(float), transposed)
    return abs(difference) / np.linalg.norm(forward) / np.linalg.norm(b)


def test_gradient_of_the_filter_is_its_transpose(backend):
    del backend
    rng = np.random.default_rng(2)
    image = photos(30, 1)
    a, b = rng.normal(size=(2, 1, 30, 30, 2)).astype(np.float32)
    with tf.GradientTape() as outer, tf.GradientTape() as tape:
        values = tf.Variable(a)
        outer.watch(values)
        filtered = bilateral_filter(values, image, 15, 50)
        score = tf.reduce_sum(filtered * b)
    transposed = tape.gradient(score, values).numpy()
    assert dual(a, b, filtered.numpy(), transposed) < 1e-6
    oracle = Lattice(image[0], 15, 50).filter(b[0], reverse=True)
    assert relative(transposed[0], oracle) < 1e-5
    assert relative(transposed[0], filtered.numpy()[0]) > 1e-3  # W is not symmetric


def test_gradient_of_the_loss_is_its_slope(backend):
    del backend
    rng = np.random.default_rng(3)
    images = photos(32, 2)
    maps = soft_maps(rng, 2, 32, 32, 3)
    step = rng.normal(size=maps.shape).astype(np.float32)
    up, _ = loss_and_gradient(images, maps + step / 2)
    down, _ = loss_and_gradient(images, maps - step / 2)
    _, gradient = loss_and_gradient(images, maps)
    slopes = (gradient * step).sum((1, 2, 3))
    # The loss is quadratic: the central difference is exact for any step.
    np.testing.assert_allclose(up - down, slopes, atol=1e-5 * np.abs(up).max())


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    classes=st.integers(1, 32),
    sigma_rgb=st.floats(2, 300),
    sigma_xy=st.floats(2, 300),
    kind=st.sampled_from(["constant", "noise", "extreme", "ramp"]),
    seed=st.integers(0, 1000),
)
def test_any_image_any_sigma(height, width, classes, sigma_rgb, sigma_xy, kind, seed):
    rng = np.random.default_rng(seed)
    image = {
        "constant": np.full((height, width, 3), 77),
        "noise": rng.integers(0, 256, (height, width, 3)),
        "extreme": 255 * rng.integers(0, 2, (height, width, 3)),
        "ramp": np.indices((height, width, 3)).sum(0) % 256,
    }[kind].astype(np.uint8)
    maps = rng.dirichlet(np.ones(classes), (1, height, width)).astype(np.float32)
    loss, gradient = loss_and_gradient(image[None], maps, sigma_rgb, sigma_xy)
    expected, _ = crf_loss(image, maps[0].astype(float), sigma_rgb, sigma_xy)
    total = Lattice(image, sigma_rgb, sigma_xy).filter(np.ones((height, width, 1))).sum()
    # Where two fractions tie in exact arithmetic, rounding picks one of two simplices, and the
    # vertices that only one of them has carry affinity between others.
    np.testing.assert_allclose(loss[0], expected, atol=0.1 * total)
    # The loss is quadratic: the central difference is exact for any step, on any lattice.
    step = rng.normal(size=maps.shape).astype(np.float32)
    up, _ = loss_and_gradient(image[None], maps + step / 2, sigma_rgb, sigma_xy)
    down, _ = loss_and_gradient(image[None], maps - step / 2, sigma_rgb, sigma_xy)
    scale = max(abs(up[0]), abs(down[0]), total)
    np.testing.assert_allclose(up[0] - down[0], (gradient * step).sum(), atol=1e-4 * scale)


def test_batches_and_threads_change_nothing():
    images, maps = photos(48), soft_maps(np.random.default_rng(4), 3, 48, 48, 2)
    losses, gradients = loss_and_gradient(images, maps)
    for n in range(3):
        loss, gradient = loss_and_gradient(images[n : n + 1], maps[n : n + 1])
        assert loss[0] == losses[n]
        np.testing.assert_array_equal(gradient[0], gradients[n])
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: loss_and_gradient(images, maps), range(12)))
    for loss, gradient in results:
        np.testing.assert_array_equal(loss, losses)
        np.testing.assert_array_equal(gradient, gradients)


@pytest.mark.slow
def test_number_of_threads_changes_nothing():
    program = (
        "import numpy as np, tensorflow as tf\n"
        "from fcam_tf.ops.bilateral import crf_loss_and_gradient\n"
        "rng = np.random.default_rng(0)\n"
        "x = rng.integers(0, 256, (4, 30, 30, 3)).astype('uint8')\n"
        "s = rng.dirichlet([1, 1], (4, 30, 30)).astype('float32')\n"
        "l, g = crf_loss_and_gradient(tf.constant(x), tf.constant(s), 15., 50., symmetric=True)\n"
        "print(l.numpy().tobytes().hex(), g.numpy().tobytes().hex())"
    )
    children = [Child(program, env={"FCAM_THREADS": threads}) for threads in ("1", "3")]
    told = [child.communicate() for child in children]
    assert [child.poll() for child in children] == [0, 0], told
    assert told[0][0] == told[1][0] != ""


def test_half_precision_is_computed_in_float32():
    image, values = photos(20, 1), soft_maps(np.random.default_rng(5), 1, 20, 20, 2)
    half = bilateral_filter(tf.cast(values, tf.float16), image)
    assert half.dtype == tf.float16
    full = bilateral_filter(values.astype(np.float16).astype(np.float32), image)
    np.testing.assert_allclose(half, full, rtol=1e-3)


def test_shapes_are_inferred_and_empty_batches_pass():
    @tf.function
    def run(images, values):
        return bilateral_filter(values, images)

    spec = tf.TensorSpec((None, None, None, 3), tf.uint8)
    traced = run.get_concrete_function(spec, tf.TensorSpec((None, 8, None, 2), tf.float32))
    assert traced.structured_outputs.shape.as_list() == [None, 8, None, 2]
    empty = bilateral_filter(np.zeros((0, 4, 4, 2), np.float32), np.zeros((0, 4, 4, 3), np.uint8))
    assert empty.shape == (0, 4, 4, 2)


def test_bad_input_is_named(backend):
    del backend
    image, values = np.zeros((1, 4, 5, 3), np.uint8), np.zeros((1, 4, 5, 2), np.float32)
    with pytest.raises(ValueError, match=r"`sigma_xy`.*0"):
        bilateral_filter(values, image, 15, 0)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\(1, 4, 5, 3\).*\(1, 5, 4, 2\)"):
        bilateral_filter(values.reshape(1, 5, 4, 2), image)
    with pytest.raises(tf.errors.InvalidArgumentError, match="1 or 3 channels"):
        bilateral_filter(values, np.zeros((1, 4, 5, 2), np.uint8))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"values.*NaN"):
        bilateral_filter(values + np.nan, image)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"image.*NaN"):
        bilateral_filter(values, image + np.float32(np.inf))


def test_ten_thousand_calls_need_no_more_memory():
    native = loader.library()
    images, maps = tf.constant(photos(16, 2)), tf.constant(np.full((2, 16, 16, 2), 0.5, np.float32))

    def calls(count):
        for _ in range(count):
            native.fcam_crf_loss(images=images, probabilities=maps, sigma_rgb=15.0, sigma_xy=9.0)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = calls(1000)
    assert calls(9000) - before < 4096  # KiB; a leak of one map a call would be 18 MB
