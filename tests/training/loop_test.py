"""Both stages as users run them, traced and with curves; the tests of `trainer` have the rest."""

import dataclasses

import keras
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fcam_tf import training
from fcam_tf.identity import model_sha256
from fcam_tf.models import FCAM
from fcam_tf.training.loop import check_batches
from tests.training.small import CLASSIFIER, fit_fcam


@pytest.mark.traced
def test_a_classifier_learns_and_shows_it(classifier, splits, tmp_path):
    before = model_sha256(classifier)
    recipe = dataclasses.replace(CLASSIFIER, epochs=3, learning_rate=0.05)
    run = training.fit_classifier(classifier, *splits, recipe, tmp_path, verbose=0)
    history = run.state.history
    assert [row["epoch"] for row in history] == list(range(4))
    assert history[-1]["loss"] < history[1]["loss"]
    scores = {"val_PxAP", "val_MaxBoxAcc", "val_MaxBoxAccV2", "val_accuracy"}
    assert set(history[-1]) == {"epoch", "loss", "accuracy", *scores}
    assert model_sha256(classifier) != before
    assert (tmp_path / "convergence.png").exists()
    best = max(row["val_MaxBoxAccV2"] for row in history)
    assert history[run.state.best]["val_MaxBoxAccV2"] == best
    curves = EventAccumulator(str(tmp_path / "logs" / "validation"), {"tensors": 0}).Reload()
    assert [event.step for event in curves.Tensors("epoch_PxAP")] == [0, 1, 2]
    maps = EventAccumulator(str(tmp_path / "logs" / "maps"), {"tensors": 0}).Reload()
    assert len(maps.Tags()["tensors"]) == 6
    assert all(len(maps.Tensors(tag)) == 3 for tag in maps.Tags()["tensors"])


@pytest.mark.traced
def test_a_decoder_learns_and_the_classifier_stays(fcam, splits, tmp_path):
    before = model_sha256(fcam.classifier)
    run = fit_fcam(fcam, splits, tmp_path)
    assert model_sha256(fcam.classifier) == before
    assert {"seeds_loss", "crf_loss", "size_loss", "loss"} <= set(run.state.history[-1])
    best = keras.models.load_model(run.best)
    assert isinstance(best, FCAM)
    assert model_sha256(best.classifier) == before


def test_batches_that_cannot_be_shared(monkeypatch):
    monkeypatch.setattr("fcam_tf.training.loop.replicas", lambda: 2)
    check_batches(8, 4)
    check_batches(6, 4)
    for images, batch_size in ((9, 3), (5, 4)):
        with pytest.raises(ValueError, match=f"2 devices.*Received: {batch_size}, of {images}"):
            check_batches(images, batch_size)
