import dataclasses
import json

import keras
import numpy as np
import pytest

from fcam_tf import metrics
from fcam_tf.data import load
from fcam_tf.evaluation import (
    EXPLANATION,
    Center,
    Evaluation,
    ExplanationSettings,
    ModelMaps,
    StoredEvaluation,
)
from fcam_tf.evaluation.explanation import explanations
from fcam_tf.evaluation.measured import CURVES
from fcam_tf.models import FCAM
from tests.models.tiny import tiny_classifier

NUMBERS = ExplanationSettings(steps=2, fractions=[0.1], samples=2, photos=3, stages=3)


@pytest.fixture(scope="module")
def source():
    return ModelMaps(tiny_classifier(size=32, classes=5), "cam")


@pytest.fixture
def asked(settings):
    numbers = dataclasses.asdict(NUMBERS)
    return dataclasses.replace(settings, method="cam", explanation=numbers)


def test_columns_are_those_of_the_metrics(source):
    images = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype(np.float32)
    labels = np.array([0, 4, 2])
    maps, _ = source(["a", "b", "c"], images, labels)
    found = explanations(source, NUMBERS, [5, 6, 7], images, maps, labels)
    assert {*found[0]} == {f.column for f in EXPLANATION.values()} - {"pointing"} | {*CURVES}
    probabilities = np.exp(np.asarray(source.model(images)))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    for i, each in enumerate(found):
        score = probabilities[i, labels[i]]
        assert each["deletion curve"][0] == pytest.approx(score, rel=1e-4)
        assert each["insertion curve"][-1] == pytest.approx(score, rel=1e-4)
        assert each["deletion"] == pytest.approx(metrics.area([each["deletion curve"]])[0])
        assert each["road"] == pytest.approx((each["LeRF curve"] - each["MoRF curve"]).mean() / 2)
    # What an image gets does not depend on its batch.
    (alone,) = explanations(source, NUMBERS, [6], images[1:2], maps[1:2], labels[1:2])
    for name, value in alone.items():
        np.testing.assert_allclose(value, found[1][name], rtol=1e-3, atol=1e-5)


def test_an_evaluation_goes_on_and_keeps_its_figures(source, asked, tmp_path, monkeypatch):
    monkeypatch.setattr("fcam_tf.evaluation.scoring.PART", 4)
    whole = Evaluation(source, asked, tmp_path / "a").run()
    assert [name for name in EXPLANATION if name in whole.metrics] == [*EXPLANATION]
    for name, figure in EXPLANATION.items():
        values = [getattr(row, figure.column) for row in whole.rows]
        assert whole.metrics[name] == pytest.approx(100 * np.mean(values))
    assert len(whole.metrics["details"]["explanation"]["deletion curve"]) == 3
    checked = whole.metrics["details"]["randomisation"]
    assert (checked["photos"], len(checked["layers"]), len(checked["ssim"])) == (3, 3, 3)
    assert checked["layers"][0] == "logits"
    again = StoredEvaluation(tmp_path / "a")
    assert (again.rows, again.metrics) == (whole.rows, whole.metrics)

    # A stop after one part: what is there stays, and the figures are those of an unbroken run.
    class Stopping(ModelMaps):
        calls = 0

        def __call__(self, *batch):
            self.calls += 1
            if self.calls == 2:
                raise KeyboardInterrupt
            return super().__call__(*batch)

    with pytest.raises(KeyboardInterrupt):
        Evaluation(Stopping(source.model, "cam"), asked, tmp_path / "b").run(batch_size=4)
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "b" / "parts").iterdir()}
    assert kept
    resumed = Evaluation(source, asked, tmp_path / "b").run(batch_size=4)
    assert all(file.stat().st_mtime_ns == time for file, time in kept.items())
    for name in EXPLANATION:
        assert resumed.metrics[name] == pytest.approx(whole.metrics[name], rel=1e-3, abs=1e-3)


def test_the_classes_are_the_predicted_ones_if_those_are_asked_for(source, asked, tmp_path):
    asked = dataclasses.replace(asked, labels="predicted")
    run = Evaluation(source, asked, tmp_path).run()
    first = run.metrics["details"]["explanation"]["deletion curve"][0]
    assert first == pytest.approx(100 * np.mean([row.confidence for row in run.rows]), rel=1e-4)


def test_maps_without_a_model_are_refused(asked, tmp_path):
    with pytest.raises(ValueError, match="`explanation` needs a model"):
        Evaluation(Center(), asked, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_cam_of_an_fcam_is_checked_by_its_classifier_s_weights():
    model = FCAM.from_classifier(tiny_classifier(size=32, classes=5), decoder_filters=(4, 4, 4))
    assert ModelMaps(model).explained is model
    source = ModelMaps(model, "cam")
    names = [name for name, _ in metrics.stages_from_head(source.explained, 99)]
    assert names == ["logits", "bn2", "conv2", "bn1", "conv1", "bn0", "conv0"]
    images = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    stages = [weights for _, weights in metrics.stages_from_head(source.explained, 2)]
    for make_maps in (source.function, ModelMaps(model).function):
        ranks, _ = metrics.randomisation(
            lambda *x, make=make_maps: make(*x)[0], images, [1], stages
        )
        assert ranks[-1] < 0.999


def test_a_model_of_one_sigmoid_is_explained_by_either_class():
    logit = tiny_classifier(size=32, classes=1)
    model = keras.Model(logit.input, keras.ops.sigmoid(logit.output))
    source, images = ModelMaps(model, "cam"), np.full((2, 32, 32, 3), 90, np.float32)
    images += np.random.default_rng(0).uniform(-80, 80, images.shape).astype(np.float32)
    positive = np.asarray(model(images))[:, 0]
    labels = np.array([0, 1])
    np.testing.assert_allclose(
        source.scores(images, labels), [1 - positive[0], positive[1]], atol=1e-5
    )
    maps, _ = source(["a", "b"], images, labels)
    against, _ = source(["a", "b"], images, 1 - labels)
    np.testing.assert_allclose(maps, 1 - np.asarray(against), atol=1e-4)  # CAM has no ReLU
    stages = [weights for _, weights in metrics.stages_from_head(source.explained, 99)]
    ranks, ssims = metrics.randomisation(
        lambda *x: source.function(*x)[0], images, labels, stages, seed=1
    )
    assert ranks.shape == ssims.shape == (7, 2)
    assert ranks[0].max() < 0.999
    np.testing.assert_array_equal(source(["a", "b"], images, labels)[0], maps)


def test_settings_are_written_as_they_are_read(asked, source, tmp_path):
    Evaluation(source, asked, tmp_path).run()
    stored = json.loads((tmp_path / "settings.json").read_text())["settings"]["explanation"]
    assert ExplanationSettings(**stored) == NUMBERS
    more = dataclasses.replace(asked, explanation=dataclasses.asdict(ExplanationSettings()))
    with pytest.raises(ValueError, match=r"explanation\.steps was 2 and is now 16"):
        Evaluation(source, more, tmp_path)
    assert len(load(asked.data, "test")) == len(StoredEvaluation(tmp_path).rows)
