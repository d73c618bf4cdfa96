import sys

import keras
import numpy as np
import pytest

from fcam_tf import cams
from fcam_tf.training import KeepBest, RunFolder, StopOnNaN, TrainingDivergedError
from fcam_tf.training.callbacks import Overlays, OwnLine, tensorboard
from tests.models.tiny import photos, tiny_classifier

IMAGES, LABELS = photos(), np.array([0, 1, 2, 0])


def small():
    model = tiny_classifier()
    model.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def test_the_earliest_best_is_kept(tmp_path):
    scores = iter([50.0, 70.0, 70.0, 60.0])
    model, run = small(), RunFolder(tmp_path, 3)
    validate = lambda: {"PxAP": next(scores)}  # noqa: E731
    model.fit(IMAGES, LABELS, epochs=3, verbose=0, callbacks=[KeepBest(run, validate, "PxAP")])
    assert run.state.best == 1
    assert [row["val_PxAP"] for row in run.state.history] == [50, 70, 70, 60]
    assert run.finished


def test_no_training_may_be_the_best(tmp_path):
    scores = iter([50.0, 40.0])
    model, run = small(), RunFolder(tmp_path, 1)
    before = model(IMAGES).numpy()
    validate = lambda: {"PxAP": next(scores)}  # noqa: E731
    model.fit(IMAGES, LABELS, verbose=0, callbacks=[KeepBest(run, validate, "PxAP")])
    assert run.state.best == 0
    np.testing.assert_array_equal(keras.models.load_model(run.best)(IMAGES), before)


def test_without_scores_the_last_epoch_is_kept(tmp_path):
    model, run = small(), RunFolder(tmp_path, 2)
    model.fit(IMAGES, LABELS, epochs=2, verbose=0, callbacks=[KeepBest(run, dict, "PxAP")])
    assert run.state.best == 2
    np.testing.assert_array_equal(keras.models.load_model(run.best)(IMAGES), model(IMAGES))


def test_nan_is_told_by_its_term():
    stop = StopOnNaN()
    stop.set_model(small())
    with pytest.raises(TrainingDivergedError, match="size_loss is nan"):
        stop.on_train_batch_end(0, {"crf_loss": 1.0, "loss": np.nan, "size_loss": np.nan})


@pytest.mark.parametrize(("verbose", "ended"), [("auto", "\n"), (2, ""), (0, "")])
def test_the_line_of_the_bar_ends_once_it_is_begun(capsys, verbose, ended):
    line = OwnLine(verbose)
    line.on_epoch_begin(0)
    line.end()
    assert capsys.readouterr().out == ""
    line.on_train_batch_end(0)
    line.end()
    assert capsys.readouterr().out == ended
    line.on_epoch_begin(1)
    line.end()
    assert capsys.readouterr().out == ""


def test_nan_stops_and_says_where():
    model = small()
    images = np.concatenate([IMAGES, np.full((2, 32, 32, 3), np.nan)])
    labels = np.concatenate([LABELS, [0, 0]])
    with pytest.raises(TrainingDivergedError, match=r"loss is nan at step 3 \(batch 2"):
        model.fit(images, labels, batch_size=2, shuffle=False, verbose=0, callbacks=[StopOnNaN()])


def test_overlays_show_the_true_class(classifier, splits, tmp_path):
    asked = []
    cam = cams.get("cam", classifier)

    def maps_and_logits(images, labels):
        asked.append(list(np.asarray(labels)))
        return cam.maps_and_logits(images, labels)

    overlays = Overlays(maps_and_logits, splits[1], tmp_path, 32)
    overlays.on_train_begin()
    overlays.on_epoch_end(0)
    assert asked == [list(overlays.split.labels)]


def test_nothing_without_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[tensorboard.__module__], "find_spec", lambda _: None)
    assert tensorboard(None, None, tmp_path, 32) == []
