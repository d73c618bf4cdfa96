"""The GPU's side of the operations, in TensorFlow and without a GPU.

TensorFlow takes an operation's name once, so all of it happens in a process of
its own.
"""

import pytest

from tests.children import Child
from tests.ops.cc import build

PROGRAM = """
import pathlib, resource, sys
import numpy as np, tensorflow as tf
from fcam_tf.ops import bilateral_filter, dense_crf, loader
from fcam_tf.ops.bilateral import crf_loss_and_gradient
from tests.ops.examples import photos, soft_maps
from tests.ops.lattice_oracle import Lattice, crf_loss
from tests.ops.mean_field_oracle import exact, mean_field, softmax

loader.path = lambda: pathlib.Path(sys.argv[1])
tf.config.experimental.enable_op_determinism()
images, maps = photos(14, 2), soft_maps(np.random.default_rng(0), 2, 14, 14, 3)


def close(got, expected):
    assert np.linalg.norm(got - expected) < 1e-5 * np.linalg.norm(expected)


def refused(error, text, function):
    try:
        function()
    except error as caught:
        assert text in str(caught), caught
    else:
        raise AssertionError(text)
"""

CHECKS = (
    # the filter
    """
with tf.GradientTape() as tape:
    values = tf.Variable(maps)
    filtered = bilateral_filter(values, images, 15, 50)
    score = tf.reduce_sum(filtered * maps[::-1])
transposed = tape.gradient(score, values)
for n in range(2):
    lattice = Lattice(images[n], 15, 50)
    close(filtered[n], lattice.filter(maps[n]))
    close(transposed[n], lattice.filter(maps[1 - n], reverse=True))
""",
    # the loss
    """
for symmetric in (True, False):
    for x in (images, images.astype("float32"), images[..., :1]):
        for sigmas in ((60.0, 50.0), (5.0, 20.0)):
            arguments = tf.constant(x), tf.constant(maps), *sigmas
            loss, gradient = crf_loss_and_gradient(*arguments, symmetric=symmetric)
            again, same = crf_loss_and_gradient(*arguments, symmetric=symmetric)
            assert (loss.numpy() == again.numpy()).all()
            assert (gradient.numpy() == same.numpy()).all()
            for n in range(2):
                expected, slope = crf_loss(x[n], maps[n].astype(float), *sigmas, symmetric)
                close(loss[n], expected)
                close(gradient[n], slope)
""",
    # mean field
    """
unaries = -np.log(maps)
for matrix in (None, np.random.default_rng(1).uniform(0, 2, (3, 3)).astype("float32")):
    for x in (images, images.astype("float32"), images[..., :1]):
        for weights in ((3, 0), (0, 2), (3, 2)):
            found, again = (
                dense_crf(images=tf.constant(x), unaries=tf.constant(unaries), compatibility=matrix,
                          bilateral=(weights[0], 20, 30), spatial=(weights[1], 1.5)).numpy()
                for _ in range(2)
            )
            assert (found == again).all()
            for n in range(2):
                kernels = [(weights[0], Lattice(x[n], 30, 20).filter),
                           (weights[1], exact(x[n], 1.5))]
                expected = mean_field(unaries[n], kernels, matrix, 5)
                np.testing.assert_allclose(found[n], expected, atol=1e-5)
for classes in (1, 2, 40):
    energies = np.random.default_rng(2).uniform(-9, 9, (2, 14, 14, classes)).astype("float32")
    arguments = {"images": images, "unaries": energies, "bilateral": (1, 9, 50), "spatial": (1, 4)}
    np.testing.assert_allclose(dense_crf(**arguments, iterations=0), softmax(-energies), atol=1e-6)
    for n in range(2):
        kernels = [(1, Lattice(images[n], 50, 9).filter), (1, exact(images[n], 4))]
        expected = mean_field(energies[n], kernels, None, 5)
        np.testing.assert_allclose(dense_crf(**arguments)[n], expected, atol=1e-5)
assert dense_crf(maps[:, :0], images[:, :0], spatial=(1, 2)).shape == (2, 0, 14, 3)
bad = unaries.copy()
bad[1, 3, 5, 0] = np.inf
invalid = tf.errors.InvalidArgumentError
refused(invalid, "image 1 of the batch: `unaries` contain NaN",
        lambda: dense_crf(images=images, unaries=bad))
bad = images.astype("float32")
bad[0, 0, 0] = np.nan
refused(invalid, "image 0 of the batch: the image contains", lambda: dense_crf(maps, bad))
refused(invalid, "raise the sigmas",
        lambda: dense_crf(maps, images.astype("float32") * 1e9, bilateral=(1, 50, 1e-3)))
""",
    # edges
    """
for shape in ((0, 4, 4), (2, 0, 4)):
    empty = np.zeros((*shape, 2), "float32"), np.zeros((*shape, 3), "uint8")
    assert bilateral_filter(*empty).shape == (*shape, 2)
    loss, gradient = crf_loss_and_gradient(*empty[::-1], 15.0, 50.0, symmetric=True)
    assert loss.numpy().tolist() == [0.0] * shape[0]
    assert gradient.shape == (*shape, 2)
close(bilateral_filter(tf.cast(maps, "float16"), images).numpy().astype("float32"),
      bilateral_filter(tf.cast(tf.cast(maps, "float16"), "float32"), images).numpy()
      .astype("float16").astype("float32"))
bad = maps.copy()
bad[1, 3, 5, 0] = np.nan
invalid = tf.errors.InvalidArgumentError
refused(invalid, "image 1 of the batch: the values or prob", lambda: bilateral_filter(bad, images))
bad = images.astype("float32")
bad[0, 0, 0] = np.inf
refused(invalid, "image 0 of the batch: the image contains", lambda: bilateral_filter(maps, bad))
refused(invalid, "(2, 14, 14, 3)", lambda: bilateral_filter(maps[:, :5], images))
huge = images.astype("float32") * 1e9
refused(invalid, "raise the sigmas", lambda: bilateral_filter(maps, huge, 1e-3, 50))
""",
    # no memory, for which the GPU has a remedy
    """
photo = np.random.default_rng(0).integers(0, 256, (1, 1200, 1200, 3), "uint8")
values = tf.ones((1, 1200, 1200, 1))
bilateral_filter(values[:, :2, :2], photo[:, :2, :2], 15, 50)
used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), -1))
for remedy in ("memory for another ", "FCAM_OPS=native", 'with tf.device("CPU")'):
    refused(tf.errors.ResourceExhaustedError, remedy,
            lambda: bilateral_filter(values, photo, 15, 50))
""",
)


@pytest.mark.slow
@pytest.mark.longest
@build.needs_compiler
def test_on_the_gpu(tmp_path):
    names = ("crf_op_on_cpu", "dense_crf_op_on_cpu", *build.CUDA, *build.LATTICE)
    library = build.compiled(tmp_path / "fcam_ops.so", names)
    child = Child(PROGRAM + "".join(CHECKS), [library])
    _, error = child.communicate()
    assert child.poll() == 0, error
