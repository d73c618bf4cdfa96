import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcam_tf import losses
from fcam_tf.ops import loader
from tests.ops.examples import photos, soft_maps
from tests.ops.lattice_oracle import Lattice


@pytest.fixture(scope="module")
def images():
    return photos(32)


@pytest.fixture(scope="module")
def maps():
    return soft_maps(np.random.default_rng(0), 3, 32, 32, 2)


def slope(function, maps):
    with tf.GradientTape() as tape:
        variable = tf.Variable(maps)
        value = tf.reduce_sum(function(variable))
    return tape.gradient(value, variable).numpy()


def mapper():
    """Return a model from images to maps."""
    inputs = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(2, 1, activation="softmax")(inputs / 255.0)
    return keras.Model(inputs, maps)


def weighted(images, maps):
    """The loss as ``compile`` takes it."""
    return 1e-5 * losses.crf_loss(images, maps, sigma_xy=50)


def test_published_value_is_lower_by_a_constant(images, maps):
    ours = losses.crf_loss(images, maps, 15, 50).numpy()
    published = losses.crf_loss(images, maps, 15, 50, symmetric=False).numpy()
    assert (published < 0).all()
    assert (ours > 0).all()
    for n in range(3):
        constant = Lattice(images[n], 15, 50).filter(np.ones((32, 32, 1))).sum()
        np.testing.assert_allclose(ours[n] - published[n], constant, rtol=1e-4)


def test_both_gradients_agree_through_a_softmax_up_to_the_asymmetry(images, maps):
    logits = np.log(maps)
    exact = slope(lambda z: losses.crf_loss(images, tf.nn.softmax(z), 15, 50), logits)
    published = slope(
        lambda z: losses.crf_loss(images, tf.nn.softmax(z), 15, 50, symmetric=False), logits
    )
    error = np.linalg.norm(exact - published) / np.linalg.norm(exact)
    assert 1e-3 < error < 0.2


def test_a_map_that_follows_the_edge_costs_less():
    images = np.zeros((1, 32, 32, 3), np.uint8)
    images[:, :, 16:] = 200
    costs = {}
    for edge in (12, 16, 20):
        maps = np.zeros((1, 32, 32, 2), np.float32)
        maps[:, :, :edge, 0] = 1
        maps[:, :, edge:, 1] = 1
        costs[edge] = losses.crf_loss(images, maps, 15, 10).numpy()[0]
    assert costs[16] < 0.2 * min(costs[12], costs[20])


def test_exact_is_the_gaussian_and_has_its_gradient(images, maps):
    exact = losses.crf_loss(images, maps, 15, 50, method="exact").numpy()
    lattice = losses.crf_loss(images, maps, 15, 50).numpy()
    assert ((exact / lattice > 1.4) & (exact / lattice < 2.3)).all()
    a = slope(lambda s: losses.crf_loss(images, s, 15, 50, method="exact"), maps)
    b = slope(lambda s: losses.crf_loss(images, s, 15, 50), maps)
    assert (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b) > 0.99
    step = np.random.default_rng(1).normal(size=maps.shape).astype(np.float32)
    up = losses.crf_loss(images, maps + step, 15, 50, method="exact").numpy().sum()
    down = losses.crf_loss(images, maps - step, 15, 50, method="exact").numpy().sum()
    np.testing.assert_allclose((up - down) / 2, (a * step).sum(), rtol=1e-3, atol=10)


def test_exact_runs_under_xla(images, maps):
    run = tf.function(
        lambda s: losses.crf_loss(images, s, 15, 50, method="exact"), jit_compile=True
    )
    np.testing.assert_allclose(
        run(tf.constant(maps)), losses.crf_loss(images, maps, 15, 50, method="exact"), rtol=1e-4
    )


@pytest.mark.traced
@pytest.mark.parametrize("engine", ["native", "tensorflow"])
def test_the_lattice_says_what_to_do_under_xla(images, maps, engine, monkeypatch):
    loader.library.cache_clear()
    monkeypatch.setenv("FCAM_OPS", engine)
    run = tf.function(lambda s: losses.crf_loss(images, s, 15, 50), jit_compile=True)
    with pytest.raises(NotImplementedError, match=r"jit_compile=False.*method=\"exact\""):
        run(tf.constant(maps))
    model = mapper()
    model.compile("sgd", weighted, jit_compile=True)
    with pytest.raises(NotImplementedError, match="supports_jit = False"):
        model.fit(images, images.astype("float32"), verbose=0)
    loader.library.cache_clear()


@pytest.mark.traced
def test_a_model_that_says_so_trains_without_xla(images):
    model = mapper()
    model.supports_jit = False
    with pytest.warns(UserWarning, match="jit_compile=False"):
        model.compile("sgd", weighted, jit_compile=True)
    model.fit(images, images.astype("float32"), verbose=0)
    assert not model.jit_compile


@pytest.mark.parametrize(
    "backend", ["jax", *(pytest.param(name, marks=pytest.mark.slow) for name in ("numpy", "torch"))]
)
def test_exact_runs_where_there_is_no_tensorflow(images, maps, backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is missing: pip install {backend}")
    np.savez(tmp_path / "data.npz", images=images, maps=maps)
    program = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "import numpy as np\n"
        "from fcam_tf import losses, ops\n"
        "data = np.load(sys.argv[1])\n"
        "found = losses.crf_loss(data['images'], data['maps'], 15, 50, method='exact')\n"
        "print(*map(float, found))\n"
        "assert callable(ops.dense_bilateral_filter)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "data.npz"],
        capture_output=True,
        check=False,
        env={**os.environ, "KERAS_BACKEND": backend},
        text=True,
    )
    assert done.returncode == 0, done.stderr
    got = [float(number) for number in done.stdout.split()]
    np.testing.assert_allclose(
        got, losses.crf_loss(images, maps, 15, 50, method="exact"), rtol=1e-4
    )


def test_scale_resizes_and_scales_sigma(images, maps):
    scaled = losses.crf_loss(images, maps, 15, 50, scale=0.5)
    small = keras.ops.image.resize(maps, (16, 16), interpolation="bilinear")
    nearest = keras.ops.image.resize(images, (16, 16), interpolation="nearest")
    np.testing.assert_allclose(scaled, losses.crf_loss(nearest, small, 15, 25), rtol=1e-6)


def test_normalized_losses_of_two_sizes_are_comparable():
    rng = np.random.default_rng(2)
    values = []
    for size in (32, 64):
        maps = np.repeat(np.repeat(soft_maps(rng, 1, 8, 8, 2), size // 8, 1), size // 8, 2)
        rng = np.random.default_rng(2)
        values.append(
            float(losses.crf_loss(photos(size, 1), maps, 15, 50 * size / 32, normalize=True)[0])
        )
    assert 0.7 < values[0] / values[1] < 1.4


def test_half_precision(images, maps):
    half = losses.crf_loss(images, tf.cast(maps, tf.bfloat16), 15, 50)
    assert half.dtype == tf.float32
    np.testing.assert_allclose(half, losses.crf_loss(images, maps, 15, 50), rtol=0.02)


@pytest.mark.traced
def test_trains_in_fit(images):
    model = mapper()
    model.compile(keras.optimizers.Adam(0.05), weighted)
    history = model.fit(images, images.astype("float32"), epochs=8, verbose=0).history["loss"]
    assert history[-1] < history[0]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"sigma_rgb": 0}, "sigma_rgb"),
        ({"sigma_xy": float("nan")}, "sigma_xy"),
        ({"scale": -1}, "scale"),
        ({"method": "fast"}, "'fast'"),
    ],
)
def test_refuses_nonsense(images, maps, options, match):
    with pytest.raises(ValueError, match=match):
        losses.crf_loss(images, maps, **options)


def test_sizes_that_are_known_when_it_runs(images, maps):
    @tf.function(input_signature=[tf.TensorSpec([None] * 3 + [3]), tf.TensorSpec([None] * 3 + [2])])
    def loss(images, maps):
        return losses.crf_loss(images, maps, scale=0.5, normalize=True)

    images = tf.cast(images, tf.float32)
    expected = losses.crf_loss(images, maps, scale=0.5, normalize=True)
    np.testing.assert_allclose(loss(images, maps), expected, rtol=1e-5)
    assert loss(images[:, :31, :17], maps[:, :31, :17]).shape == (3,)


@pytest.mark.parametrize("method", ["lattice", "exact"])
def test_no_images(method):
    images, maps = np.zeros((0, 4, 4, 3), "float32"), np.zeros((0, 4, 4, 2), "float32")
    assert losses.crf_loss(images, maps, method=method).shape == (0,)
