import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcam_tf.graphs.replicas import (
    apart,
    machines,
    mean_over_replicas,
    replicas,
    sum_over_replicas,
)
from tests.children import Child


def test_without_a_strategy():
    draws = keras.random.SeedGenerator(0)
    assert apart(draws) is draws
    assert replicas() == 1
    assert machines() == (0, 1)
    assert float(sum_over_replicas(keras.ops.convert_to_tensor(3.0))) == 3
    assert float(mean_over_replicas(keras.ops.convert_to_tensor([1.0, 2.0, 6.0]))) == 3


def test_one_device():
    strategy, drawing = tf.distribute.MirroredStrategy(["CPU:0"]), []
    with strategy.scope():
        assert replicas() == 1
        assert machines() == (0, 1)
        assert float(strategy.run(lambda: sum_over_replicas(tf.constant(3.0)))) == 3
        draws = keras.random.SeedGenerator(0)
        strategy.run(lambda: drawing.append(apart(draws)))
        assert drawing == [draws]


# Two logical devices must be asked for before TensorFlow computes anything.
REPLICAS = """
import contextlib, dataclasses, json
import numpy as np, keras, tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from fcam_tf.baselines.adl import AttentionDropout
from fcam_tf.graphs.layers import FreezableDropout
from fcam_tf.losses import FCAMLoss
from fcam_tf.models import BACKBONES, FCAM, Classifier
from fcam_tf.optimizer import CoupledSGD
from tests.models.tiny import photos, tiny_backbone, tiny_classifier

two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
scopes = [contextlib.nullcontext, two.scope]


def told(model, fitted):
    return {
        "history": fitted.history,
        "kernels": [float(np.linalg.norm(w.numpy())) for w in model.trainable_variables],
    }


def decoder(scope, images, batch):
    with scope():
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
    return told(model, fitted) | {"shape": outside[0].shape, "error": error, "same": same}


def classifier(scope, baseline):
    with scope():
        keras.utils.set_random_seed(0)
        model = Classifier("vgg16", 3, weights=None, output_stride=16, baseline=baseline)
        for layer in model.layers:  # each replica would normalise its part of a batch by itself
            layer.trainable = not layer.name.startswith("bn")
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(CoupledSGD(0.01, l2=1e-4), loss, metrics=["accuracy"])
    batches = tf.data.Dataset.from_tensor_slices(
        (photos(8).astype("float32"), np.arange(8) % 3)
    ).batch(4)
    return told(model, model.fit(batches, epochs=3, verbose=0, shuffle=False))


def draws():
    \"\"\"Return what two replicas draw, twice, of each that draws in a step.\"\"\"
    ones, images = tf.ones((1, 8, 8, 1)), photos(1).astype("float32")
    with two.scope():
        layers = [FreezableDropout(0.5, seed=1), AttentionDropout(0.5, 0.9, seed=1)]
        model = FCAM.from_classifier(tiny_classifier(size=32), decoder_filters=(), seed=1)
        model.compile("sgd", FCAMLoss(crf=0))
    targets = {"label": np.zeros(1, int), "cam": np.zeros((1, 32, 32), "float32")}

    def of_model():
        seed = model._batch(images, targets, model(images)).seed
        return keras.random.uniform((4,), seed=seed)

    steps = {type(x).__name__: lambda x=x: x(ones, training=True) for x in layers}
    found = {}
    for name, draw in {**steps, "FCAM": of_model}.items():
        step = tf.function(lambda: two.run(draw))
        times = [two.experimental_local_results(step()) for _ in range(8)]
        found[name] = [[x.numpy().tolist() for x in time] for time in times]
    return found


BACKBONES["vgg16"] = tiny_backbone("vgg16")
print(json.dumps({
    "decoder": {
        str(case): [decoder(scope, *case) for scope in scopes] for case in [(8, 8), (7, 4)]
    },
    "classifier": {
        str(name): [classifier(scope, name) for scope in scopes] for name in (None, "acol")
    },
    "draws": draws(),
}))
"""


@pytest.fixture(scope="module")
def found():
    """Return what two replicas come to, and one device."""
    child = Child(REPLICAS)
    told, error = child.communicate()
    assert child.poll() == 0, error
    return json.loads(told.splitlines()[-1])


def check_alike(one, two):
    for name, values in one["history"].items():
        np.testing.assert_allclose(two["history"][name], values, rtol=1e-4)
    np.testing.assert_allclose(two["kernels"], one["kernels"], rtol=1e-3)


@pytest.mark.slow
@pytest.mark.longest
@pytest.mark.parametrize("case", ["(8, 8)", "(7, 4)"])
def test_two_replicas_train_a_decoder_as_one_device(found, case):
    one, two = found["decoder"][case]
    terms = {f"{x}_loss" for x in ("seeds", "crf", "size", "classification", "regularization")}
    assert set(one["history"]) == {"loss", *terms}
    for run in (one, two):
        assert run["shape"] == [5, 32, 32]
        assert run["error"] < 1e-5
        assert run["same"]
    check_alike(one, two)


@pytest.mark.slow
@pytest.mark.longest
@pytest.mark.parametrize("baseline", ["None", "acol"])
def test_two_replicas_train_a_classifier_as_one_device(found, baseline):
    one, two = found["classifier"][baseline]
    losses = one["history"]["loss"]
    assert losses[-1] < losses[0]
    check_alike(one, two)


@pytest.mark.slow
@pytest.mark.longest
@pytest.mark.parametrize("name", ["FreezableDropout", "AttentionDropout", "FCAM"])
def test_replicas_draw_apart(found, name):
    first, second = zip(*found["draws"][name], strict=True)
    assert first != second
    for draws in (first, second):  # nor does one draw the same each time
        assert any(each != draws[0] for each in draws)
