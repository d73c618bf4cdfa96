import subprocess
import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf

from fcam_tf.graphs import ranges
from fcam_tf.graphs.ranges import expect_raw_pixels

UNIT = np.random.default_rng(0).uniform(0, 1, (2, 8, 8, 3)).astype("float32")


@pytest.fixture(autouse=True)
def _anew():
    ranges._warn.cache_clear()
    yield
    ranges._warn.cache_clear()


def compiled(images):
    tf.function(expect_raw_pixels, input_signature=[tf.TensorSpec([None] * 4)])(
        tf.constant(images, tf.float32)
    )


@pytest.mark.parametrize("call", [expect_raw_pixels, compiled])
@pytest.mark.parametrize("images", [UNIT, 2 * UNIT - 1, UNIT.astype("float64")])
def test_warns_once(call, images):
    with pytest.warns(UserWarning, match="Multiply them by 255"):
        call(images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(images)


@pytest.mark.parametrize("call", [expect_raw_pixels, compiled])
@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 4, 4, 3), "float32"),  # black
        np.float32([0, 1, 1, 0]).reshape(1, 2, 2, 1),  # nearly black, as decoded
        255 * UNIT,
        np.concatenate([UNIT, 255 * UNIT]),  # a dark photo beside a light one
        np.zeros((0, 4, 4, 3), "float32"),
    ],
    ids=["black", "dark", "raw", "mixed", "empty"],
)
def test_false_alarms(call, images):
    call(images)  # warnings are errors here


@pytest.mark.parametrize("images", [None, (UNIT > 0.5).astype("uint8"), UNIT.astype("int32")])
def test_only_floats_are_looked_at(images):
    expect_raw_pixels(images)


def test_xla_compiles_it():
    tf.function(expect_raw_pixels, jit_compile=True)(tf.constant(UNIT))


JAX = """
import warnings, jax, numpy as np
from fcam_tf.graphs.ranges import expect_raw_pixels
with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter("always")
    for _ in range(2):
        jax.jit(expect_raw_pixels)(np.float32([[0.5, 1.0]]))
    jax.effects_barrier()
print(len(found), "255" in str(found[0].message))
"""


def test_under_jax(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    found = subprocess.run(
        [sys.executable, "-c", JAX], capture_output=True, text=True, check=True
    ).stdout
    assert found.split() == ["1", "True"]
