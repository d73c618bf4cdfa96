"""What needs a process of its own: another backend, and several devices."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

JAX = """
import json, sys
import numpy as np, keras
from fcam_tf.losses import FCAMLoss
from fcam_tf.models import FCAM
from fcam_tf.optimizer import CoupledSGD
from fcam_tf.training import Schedule
from tests.models.tiny import photos, tiny_classifier

keras.utils.set_random_seed(0)
model = FCAM.from_classifier(tiny_classifier(size=32), decoder_filters=(8, 6, 4))
loss = FCAMLoss(crf=1e-6, crf_method="exact", windows={"size": (2, None)}, erosion=3)
model.compile(CoupledSGD(0.05, l2=1e-4), loss)
images, labels = photos(8), np.arange(8) % 3
frozen = [np.asarray(w) for w in model.classifier.weights]
fitted = model.fit(
    images, labels, epochs=8, batch_size=4, verbose=0, callbacks=[Schedule()], shuffle=False
)
same = all((a == np.asarray(w)).all() for a, w in zip(frozen, model.classifier.weights))
model.save(sys.argv[1])
again = keras.saving.load_model(sys.argv[1])
try:
    FCAMLoss(seeds=0).terms(images, np.zeros((8, 32, 32, 2)), None, 0, 1)
    refusal = ""
except ValueError as error:
    refusal = str(error)
print(json.dumps({
    "backend": keras.backend.backend(),
    "jit": model.jit_compile,
    "history": fitted.history,
    "frozen": bool(same),
    "saved": float(np.abs(model.localize(images).heatmaps - again.localize(images).heatmaps).max()),
    "refusal": refusal,
}))
"""


def test_trains_under_jax(tmp_path):
    pytest.importorskip("jax")
    run = subprocess.run(
        [sys.executable, "-c", JAX, tmp_path / "a.keras"],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    history = found["history"]
    assert found["backend"] == "jax"
    assert found["jit"]
    assert found["frozen"]
    assert found["saved"] == 0
    assert "'exact'" in found["refusal"]
    assert [value != 0 for value in history["size_loss"]] == [False] + [True] * 7
    assert history["crf_loss"][0] > 0
    assert np.mean(history["seeds_loss"][-3:]) < history["seeds_loss"][0]


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
    model = FCAM.from_classifier(tiny_classifier(size=32), decoder_filters=(8, 6, 4))
    # All of the object region and all of the background's pool are drawn: chance has no say.
    every = {"positives": 600, "negatives": 600, "kernel": 1, "erosion": 1, "negative_share": 0.5}
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
    terms = {"seeds_loss", "crf_loss", "size_loss", "classification_loss"}
    assert set(one["history"]) == {"loss", *terms}
    for run in found:
        assert run["shape"] == [5, 32, 32]
        assert run["error"] < 1e-5
        assert run["same"]
    for name, values in one["history"].items():
        np.testing.assert_allclose(two["history"][name], values, rtol=1e-4)
    np.testing.assert_allclose(two["kernels"], one["kernels"], rtol=1e-4)
