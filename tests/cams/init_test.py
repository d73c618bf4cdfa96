"""All methods on every kind of model, against a tape on the model as `predict` runs it."""

import functools
import re
from pathlib import Path

import keras
import numpy as np
import pytest

from fcam_tf import cams
from tests.cams import kinds, oracle
from tests.cams.kind import build, inputs_of
from tests.cams.kinds import KINDS

DOCS = Path(__file__).parents[2] / "docs/models.md"
EXPLAINED = [
    # Traced where more than a plain graph is.
    pytest.param(
        name,
        marks=[pytest.mark.slow] * kind.slow + [pytest.mark.traced] * (name in kinds.OTHERS),
    )
    for name, kind in KINDS.items()
    if not kind.refused
]
REFUSED = [name for name, kind in KINDS.items() if kind.refused]


class Once:
    """A cut model that differentiates the same images once for all methods."""

    def __init__(self, split, images):
        self._split, self._images = split, images
        self._evidence = None

    def __getattr__(self, name):
        return getattr(self._split, name)

    def __call__(self, images, labels):
        if not np.array_equal(images, self._images):
            return self._split(images, labels)
        self._evidence = self._evidence or self._split(images, labels)
        return self._evidence


@pytest.fixture
def get_at(monkeypatch):
    """Return a function that returns methods at a cut, uncompiled: both take long."""

    def get(split, method, model, **options):
        with monkeypatch.context() as patch:
            patch.setattr("fcam_tf.cams.base.SplitClassifier", lambda *_: split)
            patch.setattr("fcam_tf.cams.autodiff.compiled", lambda function: function)
            return cams.get(method, model, **options)

    return get


@pytest.mark.parametrize("name", EXPLAINED)
@pytest.mark.filterwarnings("ignore:Layer 'attn'.*mask:UserWarning")
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning")
def test_maps_are_those_of_the_model_as_it_predicts(name, get_at):
    kind = KINDS[name]
    model = build(kind)
    inputs = inputs_of(model, kind)
    plain = model
    if kind.twin:
        plain = build(kind, kind.twin)
        plain.set_weights(model.get_weights())
    wanted = oracle.Oracle(kind, plain, inputs)
    assert np.abs(wanted.g).max() > 0
    cam = cams.get("layercam", model, **kind.options)
    assert cam.split.is_linear == kind.linear
    split, told = Once(cam.split, wanted.images), []
    for method in cams.METHODS:
        options = kind.options | oracle.OPTIONS.get(method, {})
        if kind.refusal(method):
            with pytest.raises(ValueError, match=kind.refusal(method)):
                get_at(split, method, model, **options)
            continue
        other = cam if method == "layercam" else get_at(split, method, model, **options)
        found, logits = other.maps_and_logits(inputs)
        expected = oracle.min_max(wanted.maps(method, linear=kind.linear))
        if kind.twin:  # whose ReLUs may switch elsewhere
            assert np.abs(found - expected).mean() < kind.close, method
        else:
            np.testing.assert_allclose(found, expected, atol=kind.close, err_msg=method)
        np.testing.assert_allclose(logits, wanted.logits, atol=10 * kind.close, err_msg=method)
        told.append(np.ptp(found) > 0.5)
        if method == "layercam":
            np.testing.assert_array_equal(cam(inputs), found)  # and nothing is drawn anew
    assert np.mean(told) > 0.7
    if kind.exact:
        total = sum(part.reshape(len(part), -1).sum(-1) for part in wanted.parts())
        np.testing.assert_allclose(total, wanted.logits.max(-1), rtol=1e-3, atol=1e-3)
    model.run_eagerly = True  # compiling takes longer than predicting
    preprocessed = getattr(model, "preprocessor", None)
    predict = (
        functools.partial(model.predict, verbose=0) if preprocessed else model.predict_on_batch
    )
    predicted = keras.tree.flatten(predict(inputs))[0]
    np.testing.assert_allclose(wanted.outputs, predicted, atol=kind.close)


@pytest.mark.parametrize("name", REFUSED)
def test_models_that_are_refused(name):
    kind = KINDS[name]
    model = build(kind)
    for method in ("layercam", "scorecam", "fullgrad"):
        with pytest.raises((TypeError, ValueError), match=kind.refused):
            cams.get(method, model, **kind.options)


def test_the_table_in_the_docs_lists_every_kind():
    """The last columns say which of the methods explain a kind that not all models allow."""
    rows = re.findall(r"^\| (?!kind |---)(.+) \|$", DOCS.read_text(), re.MULTILINE)
    rows = [[cell.strip() for cell in row.split("|")] for row in rows]
    assert [row[0] for row in rows] == [*KINDS]
    for name, what, *cells in rows:
        kind = KINDS[name]
        assert what.startswith("refused") == bool(kind.refused), name
        explained = [
            not (kind.refused or kind.refusal(method)) for method in ("cam", "fullgrad", "hirescam")
        ]
        assert [cell == "yes" for cell in cells] == explained, name
        others = set(cams.METHODS) - {"cam", "fullgrad", "hirescam", "eigengradcam"}
        assert not any(map(kind.refusal, others)), name
