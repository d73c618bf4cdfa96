"""The other backends of Keras: programs under them, and a step of training under any of them."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from fcam_tf.losses import FCAMLoss
from fcam_tf.models import FCAM, Classifier
from fcam_tf.optimizer import CoupledSGD
from tests.children import UNDER_JAX
from tests.models.tiny import photos, tiny_classifier

OTHERS = {"jax": UNDER_JAX, "torch": {"KERAS_BACKEND": "torch"}}  # beside TensorFlow: environments
PIXELS = 32 * 32

under_others = pytest.mark.parametrize(
    "backend",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(not importlib.util.find_spec(name), reason=f"needs {name}"),
        )
        for name in OTHERS
    ],
)


def output_under(backend, code, *arguments):
    """Run a program as ``python -c CODE ARGUMENT...`` does, under a backend; return its output."""
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | OTHERS[backend],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def draw_weights(model):
    """Give a model weights that are the same under each backend."""
    rng = np.random.default_rng(5)
    for w in model.weights:
        kind = w.path.rsplit("/", 1)[-1]
        if kind in ("gamma", "moving_variance"):
            w.assign(rng.uniform(0.5, 1.5, w.shape))
        elif kind in ("kernel", "bias", "beta", "moving_mean"):
            w.assign(rng.normal(0, 1, w.shape) / np.sqrt(np.prod(w.shape[:-1]) or 1) / 2)


def steps_of(model, images, targets, number=2):
    """Return what a model predicts, and its losses and weights in some steps of training."""
    predicted = model.predict_on_batch(images)
    found = dict(predicted) if isinstance(predicted, dict) else {"logits": predicted}
    found["losses"] = [np.ravel(model.train_on_batch(images, targets))[0] for _ in range(number)]
    return found | {w.path: np.array(keras.ops.convert_to_numpy(w)) for w in model.weights}


def fcam_steps():
    """Train a whole F-CAM by every term of its loss that draws nothing."""
    model = FCAM.from_classifier(tiny_classifier(), decoder_filters=(8, 6, 4))
    draw_weights(model)
    model.unfreeze()
    # As many seeds as there are pixels leave nothing to chance.
    every = {"positives": PIXELS, "negatives": PIXELS, "kernel": 1, "erosion": 3}
    loss = FCAMLoss(crf=1e-6, crf_method="exact", entropy=0.3, masks=0.5, **every)
    optimizer = CoupledSGD(0.05, l2=1e-3, multipliers={"decoder_block1": 3.0})
    model.compile(optimizer, loss, run_eagerly=True)
    images, ranks = photos(), np.tile(np.arange(PIXELS, dtype="float32"), (4, 1))
    targets = {
        "label": np.array([0, 1, 2, 0]),
        # No two values are alike, and none differs in its last digit: all have the same seeds.
        "cam": np.random.default_rng(1).permuted(ranks, axis=1).reshape(4, 32, 32) / PIXELS,
        "mask": (images[..., 0] > 128).astype("int32"),
    }
    return steps_of(model, images, targets)


def baseline_steps(name):
    """Train a classifier by a baseline that draws nothing."""
    options = {"adl": {"drop_rate": 1.0}, "icl": {"drop_rate": 0.0}}.get(name, {})
    model = Classifier("tiny", 3, weights=None, baseline=name, options=options)
    draw_weights(model)
    model.compile(keras.optimizers.SGD(0.01), model.loss, run_eagerly=True)
    images, labels = photos().astype("float32"), np.array([0, 1, 2, 0])
    if name == "cutmix":
        fraction = np.full(4, 0.7, "float32")
        labels = {"label": labels, "other": labels[::-1].copy(), "fraction": fraction}
    return steps_of(model, images, labels)
