"""Kinds of models beyond plain CNNs, against a tape on the model as `predict` runs it."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcam_tf import cams
from tests.cams import ending_test
from tests.cams.kinds import KINDS

DOCS = Path(__file__).parents[2] / "docs/models.md"
EXPLAINED = [kind for kind in KINDS if not KINDS[kind].refused]
REFUSED = [kind for kind in KINDS if KINDS[kind].refused]


def build(kind):
    keras.utils.set_random_seed(0)
    model = kind.make()
    draw = np.random.default_rng(1)
    for w in model.weights:
        if w.trainable:
            w.assign(draw.normal(0, 0.5, w.shape))
    return model


def inputs_of(model, kind):
    draw = np.random.default_rng(2)
    values = [draw.uniform(0, 255 if len(s) == 3 else 1, (3, *s)) for s in kind.shapes]
    values = [value.astype("float32") for value in values]
    if isinstance(getattr(model, "input", None), dict):
        return {name: values[name == "meta"] for name in model.input}
    return values if len(values) > 1 else values[0]


def tape(model, kind, inputs):
    """Return the map (B, h, w, C), the score's gradient by it, and what `predict` gives."""
    layer, noted = kind.tap(model), []
    plain = layer.call

    def call(*args, **options):
        out = plain(*args, **options)
        noted.append(keras.tree.flatten(out)[0])
        return out

    run = model.preprocessor(inputs) if getattr(model, "preprocessor", None) else inputs
    run = keras.tree.map_structure(tf.convert_to_tensor, run)
    layer.call = call
    try:
        with tf.GradientTape() as recording:
            recording.watch(run)
            outputs = model(run, training=False)
            score = kind.score(outputs)
        (a,) = noted
        g = recording.gradient(score, a)
    finally:
        layer.call = plain
    a, g = (np.asarray(x) for x in (a, g))
    if kind.grid:
        height, width = kind.grid
        a, g = (x[:, -height * width :].reshape(-1, height, width, x.shape[-1]) for x in (a, g))
    return a, g, outputs


def formulas(a, g):
    """The methods' papers, in NumPy, for maps A and gradients g (B, h, w, C)."""
    mean = {"axis": (1, 2), "keepdims": True}
    largest = np.abs(g).max((1, 2, 3), keepdims=True)
    total = a.sum(**mean)
    weights = {
        "gradcam": g.mean(**mean),
        "gradcampp": ((g / largest) ** 2 * np.maximum(g / largest, 0)).mean(**mean),
        "xgradcam": np.where(total != 0, (g * a).sum(**mean) / np.where(total != 0, total, 1), 0),
        "layercam": np.maximum(g, 0),
    }
    for name, w in weights.items():
        raw = np.maximum((w * a).sum(-1), 0)
        low, high = raw.min((1, 2), keepdims=True), raw.max((1, 2), keepdims=True)
        yield name, (raw - low) / np.where(high > low, high - low, 1)


def uncompiled(cam, method, inputs):
    """Return the maps of another method at the same cut: cutting and compiling take seconds."""
    other = object.__new__(cams.METHODS[method])
    other.__dict__.update(cam.__dict__, formula="tables")
    images, others = cam.split.separate(inputs)
    images = other._preprocessed(images)
    return other._normalized(images, cam.check_labels(None, images), others)[0]


@pytest.mark.parametrize("name", EXPLAINED)
@pytest.mark.filterwarnings("ignore:Layer 'attn'.*mask:UserWarning")
def test_maps_are_those_of_the_model_as_it_predicts(name):
    kind = KINDS[name]
    model = build(kind)
    inputs = inputs_of(model, kind)
    a, g, outputs = tape(model, kind, inputs)
    assert np.abs(g).max() > 0
    cam = cams.get("layercam", model, **kind.options)
    found, logits = cam.maps_and_logits(inputs)
    for method, expected in formulas(a, g):
        maps = found if method == "layercam" else uncompiled(cam, method, inputs)
        np.testing.assert_allclose(maps, expected, atol=2e-3, err_msg=method)
    predicted = keras.tree.flatten(model.predict(inputs, verbose=0))
    np.testing.assert_allclose(keras.tree.flatten(outputs)[0], predicted[0], atol=1e-4)
    if not {"score", "output"} & set(kind.options):
        np.testing.assert_allclose(logits, predicted[0], atol=1e-4)


@pytest.mark.parametrize("name", REFUSED)
def test_models_that_are_refused(name):
    kind = KINDS[name]
    model = build(kind)
    with pytest.raises((TypeError, ValueError), match=kind.refused):
        cams.get("layercam", model, **kind.options)


def test_the_table_in_the_docs_lists_every_kind():
    rows = re.findall(r"^\| (?!kind |---)([^|]+?) \|", DOCS.read_text(), re.MULTILINE)
    assert rows == [*ending_test.MODELS, *ending_test.HEADS, *KINDS]
