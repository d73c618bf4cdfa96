import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcam_tf.graphs.replicas import machines, mean_over_replicas, replicas, sum_over_replicas


def test_without_a_strategy():
    assert replicas() == 1
    assert machines() == (0, 1)
    assert float(sum_over_replicas(keras.ops.convert_to_tensor(3.0))) == 3
    assert float(mean_over_replicas(keras.ops.convert_to_tensor([1.0, 2.0, 6.0]))) == 3


def test_one_device():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        assert replicas() == 1
        assert machines() == (0, 1)
        assert float(strategy.run(lambda: sum_over_replicas(tf.constant(3.0)))) == 3


REPLICAS = """
import contextlib, json, sys
import numpy as np, keras, tensorflow as tf

number, images, batch = map(int, sys.argv[1:])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * number)
from fcam_tf.losses import FCAMLoss
from fcam_tf.models import FCAM
from fcam_tf.optimizer import CoupledSGD
from tests.models.tiny import photos, tiny_classifier

devices = [f"CPU:{n}" for n in range(number)]
scope = tf.distribute.MirroredStrategy(devices).scope() if number > 1 else contextlib.nullcontext()
with scope:
    keras.utils.set_random_seed(0)
    classifier = tiny_classifier(size=32)
    classifier.get_layer("logits").kernel_regularizer = keras.regularizers.L2(0.1)
    model = FCAM.from_classifier(classifier, decoder_filters=(8, 6, 4))
    # All of the object region and all of the background's pool are drawn: chance has no say.
    every = {"positives": 600, "negatives": 600, "negative_fraction": 0.5, "kernel": 1}
    every["erosion"] = 1
    model.unfreeze(head_only=True)
    model.compile(CoupledSGD(0.05, l2=1e-4), FCAMLoss(crf=1e-6, **every))
    inside = model.maps_and_logits(photos(5))
outside = model.maps_and_logits(photos(5))
same = all(np.array_equal(a, b) for a, b in zip(inside, outside))
plain = model(photos(5))["fcam"]
error = float(np.abs(outside[0] - keras.ops.softmax(plain)[..., 1]).max())
cams = np.arange(8 * 32 * 32, dtype="float32").reshape(8, 32, 32) % 1024 / 4000
for n in range(8):
    cams[n, 16:, : 2 * n + 3] = 1
batches = tf.data.Dataset.from_tensor_slices(
    (photos(8).astype("float32"), {"label": np.arange(8) % 4 - 1, "cam": cams})
).take(images).batch(batch)
fitted = model.fit(batches, epochs=3, verbose=0, shuffle=False)
kernels = [float(np.linalg.norm(w.numpy())) for w in model.trainable_variables]
shape = outside[0].shape
print(json.dumps(
    {"history": fitted.history, "kernels": kernels, "shape": shape, "error": error, "same": same}
))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("images", "batch"), [(8, 8), (7, 4)])
def test_two_replicas_train_as_one_device(images, batch):
    found = []
    for number in (1, 2):
        run = subprocess.run(
            [sys.executable, "-c", REPLICAS, *map(str, (number, images, batch))],
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        found.append(json.loads(run.stdout.splitlines()[-1]))
    one, two = found
    terms = {f"{x}_loss" for x in ("seeds", "crf", "size", "classification", "regularization")}
    assert set(one["history"]) == {"loss", *terms}
    for run in found:
        assert run["shape"] == [5, 32, 32]
        assert run["error"] < 1e-5
        assert run["same"]
    for name, values in one["history"].items():
        np.testing.assert_allclose(two["history"][name], values, rtol=1e-4)
    np.testing.assert_allclose(two["kernels"], one["kernels"], rtol=1e-3)
