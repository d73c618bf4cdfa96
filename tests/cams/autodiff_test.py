import keras
import numpy as np
import pytest
import tensorflow as tf

from fcam_tf import cams
from fcam_tf.cams import autodiff
from tests.backends import OTHERS, output_under, under_others


def test_gradients_of_watched_and_later_tensors():
    start = tf.constant([[1.0, 2.0]])

    def function():
        later = start**2
        return [start, later], tf.reduce_sum(later * 3.0, axis=1), "rest"

    tensors, gradients, rest = autodiff.gradients(function, start)
    np.testing.assert_array_equal(tensors[1], [[1, 4]])
    np.testing.assert_array_equal(gradients[0], [[6, 12]])
    np.testing.assert_array_equal(gradients[1], [[3, 3]])
    assert rest == "rest"


def test_unconnected_gradients_are_zero():
    start, other = tf.constant([1.0]), tf.constant([1.0, 2.0])
    _, gradients, _ = autodiff.gradients(lambda: ([other], start * 2.0, None), start)
    np.testing.assert_array_equal(gradients[0], [0, 0])


@pytest.mark.traced
def test_compiled_is_one_graph():
    eager = []

    def function(x):
        eager.append(tf.executing_eagerly())
        return x + 1

    compiled = autodiff.compiled(function)
    for value in (1.0, 2.0, 3.0):
        assert compiled(tf.constant(value)) == value + 1
    assert eager == [False]


@pytest.mark.traced
def test_instances_do_not_share_traces():
    """TensorFlow counts traces by code object, and warns when it counts too many."""

    class Adder:
        def __init__(self, value):
            self.value = value
            self.call = autodiff.compiled(self.add)

        def add(self, x):
            return x + self.value

    assert [int(Adder(i).call(tf.constant(1))) for i in range(8)] == list(range(1, 9))


@pytest.mark.traced
@pytest.mark.parametrize("backend", OTHERS)
def test_other_backends(monkeypatch, tiny, backend):
    """Closed forms need no gradients; all else says so."""
    closed, other = (
        cams.get("gradcam", tiny.build()),
        cams.get("gradcam", tiny.build(hidden=True), "maps"),
    )
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)

    x, labels = tiny.images(), np.array([0, 1], "int32")
    assert closed.raw_maps(x, labels)[0].shape == (2, 6, 8)
    with pytest.raises(NotImplementedError, match=f"TensorFlow.*Received: KERAS_BACKEND={backend}"):
        other.raw_maps(x, labels)


QUIET = {"smoothgradcampp": {"noise_level": 0.0}, "sscam": {"samples": 2, "std": 0.0}}
METHODS = f"""
import sys, keras, numpy as np
from fcam_tf import cams
from tests.cams.conftest import Tiny
assert keras.backend.backend() == sys.argv[1]
model, found = Tiny.build("softmax"), {{}}
for name in cams.METHODS:
    cam = cams.get(name, model, **{QUIET}.get(name, {{}}))
    try:
        found[name] = cam(Tiny.images(), [0, 2])
    except NotImplementedError as error:
        print(name, error)
np.savez(sys.argv[2], **found)
"""


@pytest.mark.slow
@under_others
def test_all_methods_but_fullgrad_run_with_a_linear_head(tiny, tmp_path, backend):
    output = output_under(backend, METHODS, backend, tmp_path / "maps.npz")
    assert output.startswith("fullgrad this map needs gradients")
    assert f"Received: KERAS_BACKEND={backend}" in output
    with np.load(tmp_path / "maps.npz") as maps:
        assert set(maps) == set(cams.METHODS) - {"fullgrad"}
        for name, found in maps.items():
            cam = cams.get(name, tiny.build("softmax"), **QUIET.get(name, {}))
            wanted = cam(tiny.images(), [0, 2])
            np.testing.assert_allclose(found, wanted, atol=1e-4, err_msg=name)
