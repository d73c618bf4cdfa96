import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcam_tf.models import FCAM, Classifier, load
from tests.models.tiny import photos, tiny_classifier, with_a_layer_named

L = keras.layers
IMAGES = photos()
LABELS = np.array([0, 1, 2, 0])


def test_outputs(model, classifier):
    outputs = model(IMAGES)
    assert list(outputs) == ["logits", "fcam"]
    assert outputs["fcam"].shape == (4, 32, 32, 2)
    assert outputs["fcam"].dtype == "float32"
    np.testing.assert_allclose(outputs["logits"], classifier(IMAGES), atol=1e-6)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)


def test_maps_of_a_batch_are_those_of_a_call(model):
    for images in (IMAGES, IMAGES[:3].astype("float32"), photos(2, 48)):
        outputs = model(images)
        maps, logits = model.maps_and_logits(images)
        expected = np.asarray(keras.ops.softmax(outputs["fcam"]))[..., 1]
        np.testing.assert_allclose(maps, expected, atol=1e-6)
        np.testing.assert_allclose(logits, outputs["logits"], atol=1e-6)


def test_evaluate_takes_the_teacher_s_map_from_its_own_pass(model, monkeypatch):
    apart = model.test_on_batch(IMAGES, LABELS, return_dict=True)
    model.compile(model.optimizer, model.loss)  # which drops the step that was traced
    monkeypatch.setattr(model.teacher, "raw_maps", None)  # a second pass of the classifier
    found = model.evaluate(IMAGES, LABELS, verbose=0, return_dict=True)
    assert found["size_loss"] == pytest.approx(apart["size_loss"], rel=1e-4)
    assert list(model(IMAGES)) == ["logits", "fcam"]


def test_maps_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = FCAM.from_classifier(tiny_classifier(), decoder_filters=(8, 6, 4))
    finally:
        keras.config.set_dtype_policy("float32")
    maps, logits = model.maps_and_logits(IMAGES)
    assert maps.dtype == "float32"
    expected = np.asarray(keras.ops.softmax(model(IMAGES)["fcam"]))[..., 1]
    np.testing.assert_allclose(maps, expected, atol=1e-2)
    np.testing.assert_allclose(logits, model(IMAGES)["logits"], atol=1e-2)


@pytest.mark.parametrize("size", [(33, 47), (8, 8), (65, 17)])
def test_any_size(model, size):
    images = np.zeros((2, *size, 3), np.uint8)
    assert model(images)["fcam"].shape == (2, *size, 2)


def test_uint8_and_float_are_equal(model):
    np.testing.assert_array_equal(model(IMAGES)["fcam"], model(IMAGES.astype("float32"))["fcam"])


def test_our_own_classifiers_keep_their_stride_and_names(tiny_backbone):
    classifier = Classifier(tiny_backbone, 2, weights=None, class_names=("cat", "dog"))
    model = FCAM.from_classifier(classifier, decoder_filters=(8, 8, 8, 4, 4))
    assert model.class_names == ("cat", "dog")
    assert list(model.feature_maps) == ["P1", "P2", "P3", "P4", "P5"]
    assert model(IMAGES)["fcam"].shape == (4, 32, 32, 2)
    loaded = FCAM.from_config(model.get_config())
    loaded.set_weights(model.get_weights())
    np.testing.assert_array_equal(model(IMAGES)["fcam"], loaded(IMAGES)["fcam"])


def test_unfreezing_is_remembered_of_a_classifier_that_came_frozen(classifier):
    frozen = keras.models.clone_model(classifier)
    frozen.get_layer("conv0").trainable = False
    model = FCAM.from_classifier(frozen, decoder_filters=(8, 6, 4))
    model.unfreeze()
    assert all(layer.trainable for layer in FCAM.from_config(model.get_config()).layers)


def test_unfreezing_the_head_alone(model):
    model.unfreeze(head_only=True)
    trainable = {w.path.split("/")[0] for w in model.trainable_variables}
    assert {name for name in trainable if not name.startswith("decoder")} == {"logits"}


def test_the_head_is_the_dense_layer_whatever_its_name(classifier):
    features = classifier.get_layer("pool").output
    named = keras.Model(
        classifier.input, L.Dense(3, "softmax", name="predictions")(features), name="named"
    )
    model = FCAM.from_classifier(named, decoder_filters=(8, 6, 4))
    model.unfreeze(head_only=True)
    trainable = {w.path.split("/")[0] for w in model.trainable_variables}
    assert {name for name in trainable if not name.startswith("decoder")} == {"predictions"}


def test_without_a_head_none_is_unfrozen(classifier):
    maps = L.Conv2D(3, 1, name="scores")(classifier.get_layer("relu2").output)
    bare = keras.Model(classifier.input, L.GlobalAveragePooling2D(name="mean")(maps))
    model = FCAM.from_classifier(bare, method="gradcam", decoder_filters=(8, 6, 4))
    with pytest.raises(ValueError, match=r"`head_only`.*'mean'"):
        model.unfreeze(head_only=True)


def test_a_classifier_s_layers_are_told_by_being_its_own():
    model = FCAM.from_classifier(with_a_layer_named("decoder_conv"), decoder_filters=(8, 6, 4))
    assert not model.get_layer("decoder_conv").trainable
    assert all(w.path.startswith("decoder_") for w in model.trainable_variables)
    assert not model.classifier.trainable_variables


def test_weights_files_fit_a_model_from_config(model, tmp_path):
    model.save_weights(tmp_path / "a.weights.h5")
    other = FCAM.from_config(model.get_config())
    other.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(model(IMAGES)["fcam"], other(IMAGES)["fcam"])


def test_labels_have_one_meaning(model):
    predicted = model.localize(IMAGES)
    np.testing.assert_array_equal(model.localize(IMAGES, -1).labels, predicted.labels)
    assert model.localize(IMAGES, 2).labels.tolist() == [2, 2, 2, 2]
    for labels in (5000, [0, 1, 2, 3], [0], [0.5] * 4):
        with pytest.raises(ValueError, match="`labels` must"):
            model.localize(IMAGES, labels)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"class numbers in \[0, 3\)"):
        model.fit(IMAGES, np.arange(4), verbose=0)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"(?s)class numbers in \[0, 3\).*0\.5"
    ):
        model.fit(IMAGES, np.full(4, 0.5), verbose=0)


def test_no_images(model):
    with pytest.raises(ValueError, match="`images` is empty"):
        model.localize(IMAGES[:0])


def test_images_in_0_to_1_are_warned_of(model):
    from fcam_tf.graphs import ranges  # noqa: PLC0415

    for call in (model.localize, lambda x: model.evaluate(x, LABELS, verbose=0)):
        ranges._warn.cache_clear()
        with pytest.warns(UserWarning, match="Multiply them by 255"):
            call(IMAGES / np.float32(255))


def test_localize(model):
    found = model.localize(IMAGES)
    assert found.heatmaps.shape == (4, 32, 32)
    assert (found.heatmaps >= 0).all()
    assert (found.heatmaps <= 1).all()
    np.testing.assert_array_equal(found.labels, np.argmax(model(IMAGES)["logits"], axis=-1))
    named = model.localize(IMAGES, LABELS, threshold=0.5)
    np.testing.assert_array_equal(named.labels, LABELS)
    assert (named.heatmaps <= found.heatmaps + 1e-6).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_names": ("a",)}, "class_names"),
        ({"method": "nonsense"}, "nonsense"),
        ({"layer": "nonsense"}, "nonsense"),
    ],
)
def test_bad_arguments(classifier, options, message):
    with pytest.raises(ValueError, match=message):
        FCAM.from_classifier(classifier, **options)


def test_bad_images(model):
    with pytest.raises(ValueError, match=r"images\[None\]"):
        model.localize(IMAGES[0])


def test_damaged_weights(model):
    model.get_layer("decoder_head").set_weights([np.full((3, 3, 4, 2), np.nan), np.zeros(2)])
    with pytest.raises(ValueError, match="not finite"):
        model.localize(IMAGES)


def test_clones_are_plain_functional_models_that_compute_the_same(model):
    # Keras clones any functional model as its base class.
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(IMAGES)["fcam"], model(IMAGES)["fcam"])
    assert len(clone.trainable_variables) == len(model.trainable_variables)


def test_remembers_the_size_that_it_is_evaluated_at(tiny_backbone, tmp_path):
    classifier = Classifier(tiny_backbone, 2, weights=None, input_size=96)
    model = FCAM.from_classifier(classifier)
    assert model.input_size == 96
    model.input_size = 128
    model.save(tmp_path / "m.keras")
    assert load(tmp_path / "m.keras").input_size == 128


def test_no_graph_is_kept_that_nothing_runs():
    def alive():
        gc.collect()
        return {id(each): each for each in gc.get_objects() if isinstance(each, keras.Model)}

    before = alive()
    model = FCAM.from_classifier(tiny_classifier(), decoder_filters=())
    split, hidden = model.teacher.split, model._hidden
    used = (model, hidden.classifier, hidden.training, split._features, split._rest)
    assert alive().keys() - before.keys() == set(map(id, used))


@pytest.mark.parametrize("method", ["cam", "smoothgradcampp"])
def test_variables_have_the_same_names_in_every_model(tiny_backbone, method):
    """TensorFlow keeps 36 kB of each new name for good, 2,000 loaded models' many times over."""

    def names():
        model = FCAM(Classifier(tiny_backbone, 3, weights=None), method=method)
        drawn = [draws.state for draws in (model.draws, model.noise) if draws is not None]
        optimizers = model.optimizer, model.classifier.optimizer
        made = [*model.variables, *drawn, *(v for each in optimizers for v in each.variables)]
        return [variable.path for variable in made]

    assert names() == names()
