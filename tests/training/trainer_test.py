import dataclasses
import json

import keras
import numpy as np
import pytest

from fcam_tf import cams, training
from fcam_tf.data import evaluation_dataset
from fcam_tf.graphs import graph
from fcam_tf.models import FCAM, Classifier
from fcam_tf.training import ClassifierRecipe, knows_classes, trainer
from tests.models.tiny import photos, tiny_classifier
from tests.training.small import CLASSIFIER, DECODER, ONE_STEP, fit_fcam

pytestmark = pytest.mark.usefixtures("undrawn")


def test_each_epoch_has_its_learning_rate_and_number(fcam, splits, tmp_path):
    recipe = dataclasses.replace(DECODER, epochs=3, batch_size=12, lr_step=2)
    seen = []
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: seen.append(
            (float(fcam.optimizer.learning_rate), float(fcam.epoch.result()))
        )
    )
    fit_fcam(fcam, splits, tmp_path, recipe, callbacks=[look])
    np.testing.assert_allclose(seen, [(0.05, 1), (0.05, 2), (0.005, 3)], rtol=1e-6)


def test_our_own_classifiers_train_head_or_all(tiny_backbone, splits, tmp_path):
    model = Classifier(tiny_backbone, 5, weights=None)
    recipe = dataclasses.replace(CLASSIFIER, **ONE_STEP, train="head")
    stem = model.get_layer("logits").get_weights()[0]
    body = [w.numpy().copy() for w in model.weights if not w.path.startswith("logits")]
    training.fit_classifier(model, *splits, recipe, tmp_path / "a", verbose=0)
    after = [w.numpy() for w in model.weights if not w.path.startswith("logits")]
    assert all((a == b).all() for a, b in zip(body, after, strict=True))
    assert (model.get_layer("logits").get_weights()[0] != stem).any()


def test_stored_maps_of_any_method(classifier, splits, tmp_path):
    model = FCAM.from_classifier(classifier, method="scorecam", decoder_filters=(8, 6, 4))
    recipe = dataclasses.replace(DECODER, **ONE_STEP, cams="stored")
    fit_fcam(model, splits, tmp_path / "run", recipe, cache=tmp_path / "cams")
    assert (tmp_path / "cams" / "cams.npy").is_file()
    classifier.get_layer("logits").bias.assign_add([1.0] * 5)
    other = FCAM.from_classifier(classifier, method="scorecam", decoder_filters=(8, 6, 4))
    with pytest.raises(training.SettingsChangedError, match="classifier"):
        fit_fcam(other, splits, tmp_path / "run2", recipe, cache=tmp_path / "cams")


def test_a_teacher_of_several_layers_and_scales(classifier, splits, tmp_path):
    layers = ("relu1", "relu2")
    options = {"method": "layercam", "decoder_filters": (8, 6, 4)}
    model = FCAM.from_classifier(classifier, layer=layers, **options)
    recipe = dataclasses.replace(DECODER, epochs=0, layer=layers, cams="stored")
    recipe = dataclasses.replace(recipe, stored_scales=(1.0, 2.0), stored_flip=True)
    cache = tmp_path / "cams"
    run = fit_fcam(model, splits, tmp_path / "run", recipe, cache=cache)
    assert run.settings["layer"] == "relu1,relu2"
    about = json.loads((cache / "cams.json").read_text())
    assert (about["layer"], about["scales"], about["flip"]) == ("relu1,relu2", [1, 2], True)
    teacher = cams.get("layercam", classifier, layers, scales=(1, 2), flip=True)
    images, labels = next(iter(evaluation_dataset(splits[0], batch_size=12, size=32)))
    maps = np.load(cache / "cams.npy")["map"]
    np.testing.assert_allclose(maps, teacher(images, labels), atol=2e-3)
    top = FCAM.from_classifier(classifier, **options)
    with pytest.raises(ValueError, match=r"is relu1,relu2, .* weights relu2\. .*layer=\['relu1', "):
        fit_fcam(top, splits, tmp_path / "other", recipe)
    assert not (tmp_path / "other").exists()
    other = dataclasses.replace(recipe, stored_flip=False)
    with pytest.raises(training.SettingsChangedError, match="flip was True and is now False"):
        fit_fcam(model, splits, tmp_path / "other", other, cache=cache)


def test_an_online_teacher_of_several_scales_is_part_of_a_run(classifier, splits, tmp_path):
    recipe = dataclasses.replace(DECODER, **ONE_STEP)
    options = {"decoder_filters": (8, 6, 4)}
    model = FCAM.from_classifier(classifier, scales=(1, 2), flip=True, **options)
    best = fit_fcam(model, splits, tmp_path, recipe).best
    loaded = keras.saving.load_model(best)
    assert (loaded.teacher.scales, loaded.teacher.flip) == ((1, 2), True)
    with pytest.raises(training.SettingsChangedError, match="scales"):
        fit_fcam(FCAM.from_classifier(classifier, **options), splits, tmp_path, recipe)


def test_a_folder_for_maps_that_are_not_stored_is_refused(fcam, splits, tmp_path):
    with pytest.raises(ValueError, match=r"`cache` keeps the maps .* cams='online'"):
        fit_fcam(fcam, splits, tmp_path / "run", cache=tmp_path / "cams")
    assert not list(tmp_path.iterdir())


def test_without_validation_the_last_epoch_is_kept(fcam, splits, tmp_path):
    recipe = dataclasses.replace(DECODER, batch_size=12)
    run = fit_fcam(fcam, (splits[0], None), tmp_path, recipe)
    assert run.state.best == 2
    assert not any(key.startswith("val_") for row in run.state.history for key in row)


def test_a_score_without_truth_is_refused(fcam, splits, tmp_path):
    blind = dataclasses.replace(splits[1], masks=None)
    with pytest.raises(ValueError, match=r"MaxBoxAccV2, accuracy.*--set select=MaxBoxAccV2"):
        fit_fcam(fcam, (splits[0], blind), tmp_path)


def test_accuracy_needs_the_data_s_classes(splits, tmp_path):
    recipe = dataclasses.replace(CLASSIFIER, select="accuracy")
    model = tiny_classifier(classes=5)
    model.class_names = tuple("abcde")
    with pytest.raises(ValueError, match="the 5 classes of the model are not the 5 of the data"):
        training.fit_classifier(model, *splits, recipe, tmp_path, verbose=0)


@pytest.mark.parametrize("classes", [3, 7])
def test_another_number_of_classes(splits, tmp_path, classes):
    model = tiny_classifier(classes=classes)
    with pytest.raises(
        ValueError, match=rf"have the 5 classes of the data \(disc.*of {classes} cl"
    ):
        training.fit_classifier(model, *splits, CLASSIFIER, tmp_path, verbose=0)


def test_labels_out_of_range(splits, tmp_path):
    train, val = splits
    train = dataclasses.replace(train, labels=np.where(train.labels == 4, 5, train.labels))
    model = tiny_classifier(classes=5)
    with pytest.raises(ValueError, match=r"\[0, 5\)"):
        training.fit_classifier(model, train, val, CLASSIFIER, tmp_path, verbose=0)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((48, 48, 3), r"`crop` must be 48, and.* takes images of 48x48.*--set crop=48\.$"),
        ((32, 48, 3), "must take square images.*32x48"),
        ((None, None, 1), "must take RGB images.*1 channels.*rgb_to_grayscale"),
    ],
)
def test_images_that_training_does_not_make(splits, tmp_path, shape, message):
    inputs = keras.Input(shape)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(5)(x))
    with pytest.raises(ValueError, match=message):
        training.fit_classifier(model, *splits, CLASSIFIER, tmp_path / "a", verbose=0)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("units", [1, 2])
@pytest.mark.parametrize("end", [None, "sigmoid"])
def test_sigmoids_are_trained_by_their_own_loss(splits, tmp_path, units, end):
    train, val = (
        dataclasses.replace(split, labels=split.labels % 2, class_names=("even", "odd"))
        for split in splits
    )
    inputs = keras.Input((None, None, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, strides=4)(inputs / 255))
    outputs = keras.layers.Dense(units, activation=end)(x)
    model = keras.Model(inputs, outputs)
    if units == 2 and end is None:
        model.compile("sgd", "binary_crossentropy")
    recipe = dataclasses.replace(CLASSIFIER, **ONE_STEP)
    run = training.fit_classifier(model, train, val, recipe, tmp_path, method="cam", verbose=0)
    best = keras.models.load_model(run.best)
    images, head = photos(2, 32).astype("float32"), best.layers[-1]
    z = keras.Model(best.input, head.input)(images) @ head.kernel + head.bias
    labels = np.array([0, 1])
    target = labels[:, None] if units == 1 else np.eye(2)[labels]
    expected = keras.losses.binary_crossentropy(target, z, from_logits=True)
    found = best.evaluate(images, labels, verbose=0, return_dict=True)
    np.testing.assert_allclose(found["loss"], np.mean(expected), rtol=1e-4)
    assert 0 <= found["accuracy"] <= 1
    assert cams.ending_of(best, best.loss).num_classes == 2


def test_foreign_classifiers_teach_what_they_predict(splits, tmp_path):
    model = FCAM.from_classifier(tiny_classifier(classes=9), decoder_filters=(8, 6, 4))
    assert not knows_classes(model, splits[0])
    with pytest.warns(UserWarning, match="The 9 classes of the model are not the 5 of the data"):
        run = fit_fcam(model, splits, tmp_path, dataclasses.replace(DECODER, **ONE_STEP))
    assert np.isfinite(run.state.history[-1]["seeds_loss"])
    assert "val_accuracy" not in run.state.history[-1]


@pytest.mark.parametrize("crf", [0.0, 1e-9])
def test_divergence_stops_and_keeps_the_last_epoch(fcam, splits, tmp_path, crf):
    recipe = dataclasses.replace(
        DECODER, learning_rate=1e30, epochs=3, loss={"crf": crf, "size": 0.0}
    )
    with pytest.raises(training.TrainingDivergedError, match=r"step \d.*keeps epoch 0"):
        fit_fcam(fcam, splits, tmp_path, recipe)
    assert keras.models.load_model(tmp_path / "best.keras") is not None


@pytest.mark.parametrize("validated", [True, False])
def test_divergence_in_the_last_step_of_an_epoch(fcam, splits, tmp_path, validated):
    # One step an epoch: its loss is a number, and what it leaves behind is not.
    recipe = dataclasses.replace(
        DECODER, batch_size=12, learning_rate=1e30, loss={"crf": 0.0, "erosion": 3}
    )
    train, val = splits
    with pytest.raises(training.TrainingDivergedError, match=r"after step 1\..*keeps epoch 0"):
        fit_fcam(fcam, (train, val if validated else None), tmp_path, recipe)
    best = keras.models.load_model(tmp_path / "best.keras")
    assert np.isfinite(best(np.zeros((1, 32, 32, 3)))["fcam"]).all()


def test_a_classifier_that_ends_in_a_softmax(splits, tmp_path):
    recipe, losses = dataclasses.replace(CLASSIFIER, epochs=1, batch_size=12), []
    for out in ("logits", "softmax", "nested"):
        keras.utils.set_random_seed(3)
        model = tiny_classifier(classes=5)
        if out != "logits":
            model = keras.Model(model.inputs, keras.layers.Softmax(name="p")(model.outputs[0]))
        if out == "nested":
            model = keras.Sequential([keras.Input(model.input_shape[1:]), model])
        run = training.fit_classifier(model, *splits, recipe, tmp_path / out, verbose=0)
        losses.append(run.state.history[1]["loss"])
    assert losses[1:] == pytest.approx(losses[:1] * 2, rel=1e-4)


def test_an_fcam_is_no_classifier(fcam, splits, tmp_path):
    with pytest.raises(TypeError, match=r"\.classifier"):
        training.fit_classifier(fcam, *splits, CLASSIFIER, tmp_path)


def test_half_precision_must_be_all_or_nothing(tiny_backbone, splits, tmp_path):
    half = Classifier(tiny_backbone, 5, weights=None, dtype="mixed_float16")
    model = FCAM.from_classifier(half, decoder_filters=(8, 8, 8, 4, 4))
    for mixed in (True, False):
        recipe = dataclasses.replace(DECODER, mixed_precision=mixed)
        with pytest.raises(ValueError, match="its layers in float16, float32"):
            fit_fcam(model, splits, tmp_path, recipe)


def test_mixed_precision(splits, tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        keras.utils.set_random_seed(0)
        model = FCAM.from_classifier(tiny_classifier(classes=5), decoder_filters=(8, 6, 4))
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(ValueError, match="mixed_float16"):
        fit_fcam(model, splits, tmp_path / "a")
    recipe = dataclasses.replace(DECODER, **ONE_STEP, mixed_precision=True, learning_rate=0.01)
    run = fit_fcam(model, splits, tmp_path / "b", recipe)
    assert np.isfinite(run.state.history[-1]["loss"])
    assert model(np.zeros((1, 32, 32, 3)))["fcam"].dtype == "float32"


@pytest.mark.parametrize(
    ("backbone", "baseline", "fast", "slow"),
    [
        ("resnet50", None, ("v2_stack_3_block1_1_conv", "logits"), ("v2_stack_2_block1_1_conv",)),
        ("resnet50", "acol", ("v2_stack_3_block1_1_conv",), ("logits", "v2_stack_2_block6_3_bn")),
        ("resnet50", "spg", ("v2_stack_3_block3_3_bn",), ("logits", "conv1_conv")),
        ("vgg16", None, ("conv6", "logits"), ("block4_conv1", "block5_conv3")),
        ("vgg16", "acol", ("conv6", "logits"), ("block4_conv1", "block5_conv3")),
        ("vgg16", "spg", ("conv6", "logits", "block4_conv1", "block5_conv3"), ("block3_conv3",)),
    ],
)
def test_what_learns_faster_is_as_in_the_benchmark(backbone, baseline, fast, slow):
    classifier = Classifier(backbone, 3, weights=None, baseline=baseline)
    flat = graph.flatten(classifier)
    assert next(layer for layer in reversed(flat.layers) if layer.weights).name == "logits"
    ending = cams.ending_of(flat, classifier.loss)
    trainer._compile_classifier(classifier, "logits/", ending, ClassifierRecipe(head_ratio=7.0))
    found = {}
    for variable in classifier.trainable_variables:
        layer = variable.path.split("/")[0]
        found.setdefault(layer, set()).add(classifier.optimizer.multiplier(variable.path))
    assert all(found[layer] == {7} for layer in fast)
    assert all(found[layer] == {1} for layer in slow)
