import dataclasses
import io
import json
import os
import signal

import keras
import numpy as np
import pytest
from PIL import Image

from fcam_tf import models, training
from fcam_tf.data import load_wsol, write_shapes
from fcam_tf.graphs.layers import FreezableDropout
from fcam_tf.identity import model_sha256
from fcam_tf.models import FCAM, Classifier
from tests.children import Child
from tests.models.tiny import tiny_classifier
from tests.training.small import CLASSIFIER, DECODER, ONE_STEP, fit_fcam

pytestmark = pytest.mark.usefixtures("undrawn")


def test_runs_repeat(classifier, splits, tmp_path):
    histories = []
    for name in "ab":
        keras.utils.set_random_seed(5)
        model = FCAM.from_classifier(classifier, decoder_filters=(8, 6, 4), seed=3)
        recipe = dataclasses.replace(DECODER, epochs=1)
        histories.append(fit_fcam(model, splits, tmp_path / name, recipe).state.history)
    for a, b in zip(*histories, strict=True):
        assert a == pytest.approx(b, rel=1e-4)


def test_a_finished_run_is_not_trained_again(fcam, splits, tmp_path):
    recipe = dataclasses.replace(DECODER, **ONE_STEP)
    fit_fcam(fcam, splits, tmp_path, recipe)
    stamp = (tmp_path / "state.json").stat().st_mtime_ns
    again = FCAM.from_config(fcam.get_config())
    again.set_weights(fcam.get_weights())
    assert fit_fcam(again, splits, tmp_path, recipe).finished
    assert (tmp_path / "state.json").stat().st_mtime_ns == stamp
    (tmp_path / "best.keras").unlink()
    with pytest.raises(training.SettingsChangedError, match=r"best\.keras is gone, .*afresh"):
        fit_fcam(again, splits, tmp_path, recipe)


KILLED = """
import json, os, signal, sys
import keras
import numpy as np
from fcam_tf import data, training
from fcam_tf.models import FCAM
from fcam_tf.training import loop
from tests.models.tiny import tiny_classifier
from tests.training.small import DECODER

keras.utils.set_random_seed(5)
model = FCAM.from_classifier(tiny_classifier(classes=5), decoder_filters=(8, 6, 4), seed=3)
splits = [data.load_wsol(sys.argv[1], name) for name in ("train", "val")]
kill_at = int(sys.argv[3])
steps = 0


# As the fixture `undrawn`, and without tracing.
loop.tensorboard, loop.draw_convergence = lambda *_: [], lambda *args: args[2].touch()


class Kill(keras.callbacks.Callback):
    def set_model(self, model):
        super().set_model(model)
        model.run_eagerly = True

    def on_train_batch_end(self, batch, logs=None):
        global steps
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


run = training.fit_fcam(model, *splits, DECODER, sys.argv[2], verbose=0, callbacks=[Kill()])
print(json.dumps([row["loss"] for row in run.state.history[1:]]))
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_result(splits, tmp_path):
    root = splits[0].paths[0]
    while not (root / "metadata").is_dir():
        root = root.parent

    def losses(out, kill_at, ended):
        child = Child(KILLED, [root, tmp_path / out, kill_at])
        told, error = child.communicate()
        assert child.poll() == ended, error
        return told and json.loads(told.splitlines()[-1])

    whole = losses("whole", 0, 0)
    losses("killed", 1, -signal.SIGKILL)  # in the first epoch
    losses("killed", 3, -signal.SIGKILL)  # in the second
    assert losses("killed", 0, 0) == pytest.approx(whole, rel=1e-5)


def test_other_settings_are_refused(fcam, splits, tmp_path):
    fit_fcam(fcam, splits, tmp_path, dataclasses.replace(DECODER, epochs=0))
    with pytest.raises(training.SettingsChangedError, match="recipe"):
        fit_fcam(fcam, splits, tmp_path, dataclasses.replace(DECODER, epochs=1))


def test_killed_before_the_plot(fcam, splits, tmp_path):
    recipe = dataclasses.replace(DECODER, **ONE_STEP)
    fit_fcam(fcam, splits, tmp_path, recipe)
    (tmp_path / "convergence.png").unlink()
    fit_fcam(fcam, splits, tmp_path, recipe)
    assert (tmp_path / "convergence.png").exists()


class Stop(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
        if epoch == 1:
            raise KeyboardInterrupt


@pytest.mark.parametrize("ema", [0.9, pytest.param(0.0, marks=pytest.mark.slow)])
def test_a_stopped_classifier_with_dropout_goes_on_to_the_same_result(splits, tmp_path, ema):
    recipe = dataclasses.replace(CLASSIFIER, ema=ema)

    def build():
        keras.utils.set_random_seed(0)
        tiny = tiny_classifier(classes=5)
        x = FreezableDropout(0.5, name="drop")(tiny.get_layer("pool").output)
        return keras.Model(tiny.inputs, keras.layers.Dense(5, name="logits")(x), name="tiny")

    def fit(out, *callbacks):
        run = training.fit_classifier(
            build(), *splits, recipe, tmp_path / out, callbacks=callbacks, verbose=0
        )
        best = models.load(run.best).get_layer("logits").get_weights()[0]
        assert (run.average() is not None) == (ema > 0)
        return [row["loss"] for row in run.state.history[1:]], best

    whole, kernel = fit("whole")
    with pytest.raises(KeyboardInterrupt):
        fit("stopped", Stop())
    again, same = fit("stopped")
    assert again == pytest.approx(whole, rel=1e-5)
    np.testing.assert_allclose(same, kernel, rtol=1e-4, atol=1e-6)


def test_a_photo_replaced_by_one_of_its_size_is_told(classifier, tmp_path):
    root = write_shapes(tmp_path / "shapes", {"train": 12}, 48)
    train = load_wsol(root, "train")
    recipe = dataclasses.replace(CLASSIFIER, select="accuracy")

    def fit(*callbacks):
        training.fit_classifier(
            classifier, train, None, recipe, tmp_path / "out", callbacks=callbacks, verbose=0
        )

    with pytest.raises(KeyboardInterrupt):
        fit(Stop())
    photo = train.paths[3]
    grey = io.BytesIO()
    Image.new("RGB", (48, 48)).save(grey, "PNG")
    photo.write_bytes(grey.getvalue().ljust(photo.stat().st_size, b"\0"))
    os.utime(photo, ns=(1, 1))
    with pytest.warns(UserWarning, match="Photos or masks have been rewritten"):
        fit()


@pytest.mark.parametrize("asked", [None, {"times": "a"}])
def test_files_that_were_looked_at_are_not_looked_at_again(
    classifier, splits, tmp_path, monkeypatch, asked
):
    monkeypatch.setattr("fcam_tf.training.loop.times_sha256", lambda *_: "b")
    recipe = dataclasses.replace(CLASSIFIER, epochs=0)
    training.fit_classifier(classifier, *splits, recipe, tmp_path, asked=asked, verbose=0)
    kept = json.loads((tmp_path / "run.json").read_text())["times"]
    assert kept == ("a" if asked else "b")


def test_fingerprints_tell_graphs_apart_and_not_names(tiny_backbone):
    models = [Classifier(tiny_backbone, 3, weights=None, output_stride=s) for s in (16, 32)]
    models[1].set_weights(models[0].get_weights())
    assert model_sha256(models[0]) != model_sha256(models[1])
    copy = Classifier.from_config({**models[0].get_config(), "name": "other"})
    copy.set_weights(models[0].get_weights())
    assert model_sha256(copy) == model_sha256(models[0])


def test_what_a_run_starts_from_is_part_of_it(classifier, splits, tmp_path):
    recipe = dataclasses.replace(CLASSIFIER, epochs=0)
    for weights in ("imagenet", "none"):
        arguments = (classifier, *splits, recipe, tmp_path)
        if weights == "imagenet":
            training.fit_classifier(*arguments, about={"weights": weights}, verbose=0)
        else:
            with pytest.raises(training.SettingsChangedError, match="weights"):
                training.fit_classifier(*arguments, about={"weights": weights}, verbose=0)


def test_the_number_of_devices_is_part_of_a_run(classifier, splits, tmp_path, monkeypatch):
    recipe = dataclasses.replace(CLASSIFIER, epochs=0)
    training.fit_classifier(classifier, *splits, recipe, tmp_path, verbose=0)
    monkeypatch.setattr("fcam_tf.training.loop.replicas", lambda: 2)
    with pytest.raises(training.SettingsChangedError, match="replicas was 1 and is now 2"):
        training.fit_classifier(classifier, *splits, recipe, tmp_path, verbose=0)
