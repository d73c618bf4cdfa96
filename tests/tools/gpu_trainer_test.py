import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
TRAIN = """
import json
import jax, keras, numpy as np
import gpu_trainer
from fcam_tf import cams
from fcam_tf.cams.split_classifier import Evidence

keras.utils.set_random_seed(0)
model = keras.Sequential([
    keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, padding="same"),
    keras.layers.BatchNormalization(momentum=0.9), keras.layers.ReLU(),
    keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2),
])
labels = np.arange(32) % 2
photos = np.random.default_rng(0).uniform(0, 1, (32, 8, 8, 3)).astype("float32")
photos[labels == 1, ..., 0] += 2
compiled = []

class Counting(keras.optimizers.SGD):
    def update_step(self, *args):
        compiled.append(1)
        super().update_step(*args)

model.compile(Counting(0.1), keras.losses.CategoricalCrossentropy(from_logits=True))
draw = lambda key, rows: (photos[rows], np.eye(2, dtype="float32")[labels[rows]])
settings = {"count": 32, "batch_size": 8, "rate": 0.2}
trainer = gpu_trainer.Trainer(model, draw, epochs=60, **settings)
before = [variable.numpy() for variable in model.weights]
stops = list(trainer.run(lambda number: number == 99))
right = np.mean(np.argmax(model.predict(photos, verbose=0), -1) == labels)
trained = [v.path.split("/")[-1] for v, was in zip(model.weights, before)
           if np.abs(v.numpy() - was).max() > 1e-4]
rehearsal = gpu_trainer.Trainer(model, draw, epochs=60, most=3, **settings)
fine, coarse = (np.arange(n * n, dtype="float32").reshape(1, n, n, 1) for n in (4, 2))
fuse = lambda *maps: cams.get("layercam", model).combine(
    Evidence(list(maps), [np.ones((1, 1, 1, 1), "float32")] * 2, None, None))
print(json.dumps({
    "fused": float(np.abs(jax.jit(fuse)(fine, coarse) - fuse(fine, coarse)).max()),
    "stops": stops, "right": float(right), "trained": sorted(trained),
    "losses": [row["loss"] for row in trainer.log], "variables": len(model.trainable_variables),
    "updates": len(compiled), "rehearsal": rehearsal.steps,
}))
"""


@pytest.mark.slow
def test_trains_a_model_in_one_compiled_step():
    pytest.importorskip("jax")
    run = subprocess.run(
        [sys.executable, "-c", TRAIN],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": f"{TOOLS}:{TOOLS.parent}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["stops"] == [99, 239]
    assert found["right"] == 1
    assert found["losses"][-1] < 0.5 * found["losses"][0]
    assert found["trained"].count("kernel") == 2
    assert {"moving_mean", "moving_variance", "gamma"} <= set(found["trained"])
    assert found["updates"] == found["variables"]  # traced once, not once more for other types
    assert found["rehearsal"] == 3
    assert found["fused"] < 1e-6  # two maps of LayerCAM, compiled and not
