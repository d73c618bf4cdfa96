import dataclasses

import keras
import numpy as np
import pytest

from fcam_tf import baselines, cams, data, models, names, training

IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)


def test_every_baseline_has_a_map():
    assert set(baselines.METHODS) == set(names.BASELINES)
    assert all(issubclass(method.cam, cams.CAM) for method in baselines.METHODS.values())


@pytest.mark.parametrize("name", baselines.METHODS)
def test_options_are_plain_numbers_that_come_back(name):
    made = baselines.get(name)
    assert baselines.get(name, **dataclasses.asdict(made)) == made


def test_unknown_names_are_told():
    with pytest.raises(ValueError, match="Did you mean 'adl'"):
        baselines.get("adll")
    with pytest.raises(ValueError, match="Did you mean 'drop_rate'"):
        baselines.get("adl", droprate=0.5)
    with pytest.raises(ValueError, match="'adl' is not set up for 'densenet121'"):
        models.Classifier("densenet121", 2, weights=None, baseline="adl")


@pytest.fixture(scope="module")
def plain(tiny_backbone):
    return models.Classifier(tiny_backbone, 2, weights=None)


@pytest.fixture(scope="module")
def adl(tiny_backbone):
    return models.Classifier(tiny_backbone, 2, weights=None, baseline="adl")


def test_own_map_needs_a_model_that_has_one(plain):
    with pytest.raises(ValueError, match="baseline='acol'"):
        cams.get("acol", plain)


@pytest.mark.parametrize("name", baselines.METHODS)
def test_maps_are_not_called_what_they_are_not(plain, adl, name):
    with pytest.raises(ValueError, match=f"baseline='{name}'.*no baseline"):
        cams.get(name, plain)
    foreign = keras.models.clone_model(plain)  # which does not say how it was trained
    with pytest.raises(ValueError, match=f"baseline='{name}'.*no baseline"):
        cams.get(name, foreign)
    if name != "adl":
        with pytest.raises(ValueError, match="baseline='adl'"):
            cams.get(name, adl)


@pytest.mark.parametrize("name", ["adl", "acol", "spg", "icl"])
def test_trains_in_mixed_precision(tiny_backbone, name):
    keras.utils.set_random_seed(0)
    options = {"weights": None, "baseline": name, "dtype": "mixed_float16"}
    classifier = models.Classifier(tiny_backbone, 2, output_stride=16, **options)
    assert classifier.outputs[0].dtype == "float32"
    losses = [classifier.train_on_batch(IMAGES, np.array([0, 1]))[0] for _ in range(2)]
    assert np.isfinite(losses).all()
    logits = classifier.predict(IMAGES, verbose=0)
    assert (logits.dtype, np.isfinite(logits).all()) == (np.float32, True)
    assert np.isfinite(np.asarray(cams.get(name, classifier)(IMAGES))).all()


@pytest.mark.parametrize("name", ["adl", "acol", "spg", "icl"])  # the others are plain CAM
def test_saves_localises_and_teaches(tiny_backbone, name, tmp_path):
    keras.utils.set_random_seed(0)
    options = {"weights": None, "baseline": name}
    classifier = models.Classifier(tiny_backbone, 2, output_stride=16, **options)
    classifier.train_on_batch(IMAGES, np.array([0, 1]))
    cam = cams.get(name, classifier)
    maps, logits = cam.maps_and_logits(IMAGES, [1, 0])
    assert maps.shape == (2, 4, 4)
    np.testing.assert_allclose(logits, classifier.predict(IMAGES, verbose=0), atol=1e-5)
    assert cam.needs_only_features
    features = keras.Model(classifier.inputs[0], cam.split.feature_maps[0])(IMAGES)
    np.testing.assert_allclose(
        cam.from_features(features, np.array([1, 0], np.int32), logits), maps, atol=1e-4
    )

    fcam = models.FCAM.from_classifier(classifier, method=name)
    logits = fcam(IMAGES)["logits"]
    fcam.fit(IMAGES, np.array([0, 1]), verbose=0)
    np.testing.assert_allclose(fcam(IMAGES)["logits"], logits, atol=1e-5)  # frozen, in training too
    fcam.save(tmp_path / "f.keras")
    loaded = models.load(tmp_path / "f.keras")
    np.testing.assert_array_equal(
        loaded.predict(IMAGES, verbose=0)["fcam"], fcam.predict(IMAGES, verbose=0)["fcam"]
    )
    assert loaded.classifier.baseline == classifier.baseline
    np.testing.assert_allclose(cams.get(name, loaded.classifier)(IMAGES, [1, 0]), maps, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float16"])
@pytest.mark.parametrize("name", ["adl", "acol", "spg", "icl"])
def test_trains_and_explains_under_every_floatx(tiny_backbone, floatx, name, dtype):
    keras.utils.set_random_seed(0)
    classifier = models.Classifier(tiny_backbone, 2, weights=None, baseline=name)
    weights = [np.asarray(w) for w in classifier.weights]
    expected, logits = cams.get(name, classifier).maps_and_logits(IMAGES, [0, 1])
    floatx(dtype)
    other = models.Classifier(tiny_backbone, 2, weights=None, baseline=name)
    other.set_weights(weights)
    maps, found = cams.get(name, other).maps_and_logits(IMAGES, [0, 1])
    assert (maps.dtype, found.dtype) == ("float32", "float32")
    np.testing.assert_allclose(found, logits, atol=0.05)
    assert np.abs(maps - expected).mean() < (1e-5 if dtype == "float64" else 0.05)
    other.trainable_weights[-2].regularizer = keras.regularizers.L2(1e-3)  # of the head, float32
    assert np.isfinite(other.train_on_batch(IMAGES, np.array([0, 1]))[0])
    fcam = models.FCAM.from_classifier(other, method=name)
    assert np.isfinite(fcam.train_on_batch(IMAGES, np.array([0, 1]))).all()
    assert fcam.localize(IMAGES).heatmaps.dtype == "float32"


@pytest.mark.slow
@pytest.mark.traced
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", baselines.METHODS)
def test_learns_shapes(tiny_backbone, name, tmp_path):
    keras.utils.set_random_seed(0)
    train, val = (data.load("shapes", split) for split in ("train", "val"))
    train, val = train.subset(np.arange(64)), val.subset(np.arange(8))
    classes = len(train.class_names)
    classifier = models.Classifier(tiny_backbone, classes, weights=None, baseline=name)
    settings = ("epochs=8", "resize=32", "crop=32", "batch_size=8", "learning_rate=0.003")
    recipe = training.get("classifier", "small").changed(
        [*settings, "optimizer=adam", "train=all", "head_ratio=1"]
    )
    run = training.fit_classifier(classifier, train, val, recipe, tmp_path, method=name, verbose=0)
    _, *epochs = run.state.history
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    assert max(row["accuracy"] for row in epochs) > 2 * 0.9 / classes  # of mixed images, too
    assert epochs[-1]["val_MaxBoxAcc"] > 0


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["has", "adl"])
def test_batches_that_train_are_augmented(tiny_backbone, name, tmp_path, monkeypatch):
    used = []

    def watch(split, *, augment, **arguments):
        used.append(augment)
        return data.training_dataset(split, augment=augment, **arguments)

    monkeypatch.setattr("fcam_tf.training.loop.training_dataset", watch)
    train = data.load("shapes", "train").subset(np.arange(4))
    recipe = training.get("classifier", "small").changed(
        ["epochs=1", "resize=32", "crop=32", "batch_size=4"]
    )
    classifier = models.Classifier(tiny_backbone, 5, weights=None, baseline=name)
    training.fit_classifier(classifier, train, None, recipe, tmp_path, method=name, verbose=0)
    assert used == [classifier.baseline.augment if name == "has" else None]


@pytest.mark.usefixtures("undrawn")
def test_a_run_remembers_its_baseline(tiny_backbone, tmp_path):
    train = data.load("shapes", "train").subset(np.arange(8))
    recipe = training.get("classifier", "small").changed(
        ["epochs=1", "resize=32", "crop=32", "batch_size=8"]
    )
    for rate in (0.5, 0.4):
        classifier = models.Classifier(
            tiny_backbone, 5, weights=None, baseline="has", options={"drop_rate": rate}
        )
        arguments = (classifier, train, None, recipe, tmp_path)
        if rate == 0.5:
            training.fit_classifier(*arguments, method="has", verbose=0)
        else:
            with pytest.raises(training.SettingsChangedError, match="baseline"):
                training.fit_classifier(*arguments, method="has", verbose=0)
