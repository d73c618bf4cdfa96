"""The GPU's side of the operations, in TensorFlow and without a GPU.

TensorFlow takes an operation's name once, so all of it happens in a process of
its own.
"""

import subprocess
import sys

import pytest

from tests.ops.cc import build

PROGRAM = """
import pathlib, sys
import numpy as np, tensorflow as tf
from fcam_tf.ops import bilateral_filter, loader
from fcam_tf.ops.bilateral import crf_loss_and_gradient
from tests.ops.examples import photos, soft_maps
from tests.ops.lattice_oracle import Lattice, crf_loss

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
)


@pytest.mark.slow  # compiles the operation
@build.needs_compiler
def test_on_the_gpu(tmp_path):
    names = ("crf_op_on_cpu", "cuda_lattice", "cuda_device", *build.LATTICE)
    library = build.compiled(tmp_path / "fcam_ops.so", names)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + "".join(CHECKS), library],
        capture_output=True,
        check=False,
        cwd=build.ROOT,
        text=True,
    )
    assert done.returncode == 0, done.stderr
