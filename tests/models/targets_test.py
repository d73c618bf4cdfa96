import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcam_tf import cams
from fcam_tf.cams.split_classifier import SplitClassifier
from fcam_tf.losses import FCAMLoss
from fcam_tf.models import FCAM, Classifier, targets
from fcam_tf.models.targets import Epoch, coarse_maps, labels_of, planes
from tests.models.tiny import photos, tiny_classifier

LABELS = np.array([2, 0, -1])
IMAGES, SHOWN = photos(), np.array([0, 1, 2, 0])


def test_rows_of_labels_where_no_step_can_be_compiled_for_them(monkeypatch):
    def nonzero(_):
        raise TypeError("abstract tracer")  # as JAX does

    monkeypatch.setattr(targets.ops, "nonzero", nonzero)
    with pytest.raises(NotImplementedError, match=r"train with the TensorFlow backend"):
        coarse_maps(None, IMAGES, np.array([[1, 0]] * 4), None, {})


@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None], LABELS.astype("float32")])
def test_labels(labels):
    found = labels_of({"label": labels}, 4)
    assert found.dtype == "int32"
    np.testing.assert_array_equal(found, LABELS)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"label": None}, "`y` must be class numbers.*Received: None"),
        ({"cam": np.zeros((3, 8, 8))}, "as 'label'.*Received: cam"),
        ({"label": keras.Input((4,))}, r"`y` must give one class number.*\(None, 4\).*argmax"),
        ({"label": np.zeros((3, 1, 1))}, "`y` must give one class number"),
    ],
)
def test_bad_labels(targets, message):
    with pytest.raises(ValueError, match=message):
        labels_of(targets, 4)


def test_planes():
    maps = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(planes("cam", maps), maps)
    np.testing.assert_array_equal(planes("cam", maps[..., None]), maps)


@pytest.mark.parametrize("shape", [(3, 8, 8, 3), (3, 64)])
def test_bad_planes(shape):
    with pytest.raises(ValueError, match=r"`y` must hold 'cam' as \(B, h, w\)"):
        planes("cam", np.zeros(shape))


def test_the_epoch_keeps_its_number_until_it_is_set():
    epoch = Epoch()
    assert float(epoch.result()) == 1
    epoch.update_state(7)
    epoch.reset_state()  # as fit and evaluate do
    assert float(epoch.result()) == 7


def test_a_compiled_step_sees_the_number_of_now():
    epoch = Epoch()
    step = tf.function(lambda: 2 * epoch.value)
    found = []
    for number in (1, 3):
        epoch.update_state(number)
        found.append(float(step()))
    assert found == [2, 6]
    assert step.experimental_get_tracing_count() == 1


def test_the_epoch_is_no_weight_of_its_model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.epoch = Epoch()
    assert len(model.weights) == 2
    assert model.epoch in model.metrics


def taught(model):
    return coarse_maps(model.teacher, IMAGES, SHOWN, None, model(IMAGES, training=True))


def full_size(maps):
    return tf.image.resize(np.asarray(maps)[..., None], (32, 32))[..., 0]


def test_the_online_map_is_that_of_the_method(classifier):
    found = taught(FCAM.from_classifier(classifier, decoder_filters=(8, 6, 4)))
    maps, _ = cams.get("cam", classifier).maps_and_logits(IMAGES, SHOWN)
    np.testing.assert_allclose(found, full_size(maps), atol=1e-5)


def test_gradient_methods_teach_online_too(classifier):
    found = taught(FCAM.from_classifier(classifier, method="layercam", decoder_filters=(8, 6, 4)))
    maps, _ = cams.get("layercam", classifier).maps_and_logits(IMAGES, SHOWN)
    np.testing.assert_allclose(found, full_size(maps), atol=1e-5)


def test_a_teacher_of_several_layers(classifier):
    options = {"method": "layercam", "layer": ("relu2", "relu1"), "decoder_filters": (8, 6, 4)}
    model = FCAM.from_classifier(classifier, **options)
    assert model.feature_maps["P3"] is model.classifier.get_layer("relu2").output
    found = taught(model)
    maps = cams.get("layercam", classifier, ["relu1", "relu2"])(IMAGES, SHOWN)
    assert maps.shape == (4, 8, 8)
    np.testing.assert_allclose(found, full_size(maps), atol=1e-5)
    again = FCAM.from_config(json.loads(json.dumps(model.get_config())))
    assert again.teacher.layers == model.teacher.layers == ("relu1", "relu2")
    with pytest.raises(ValueError, match="'gradcam' does not fuse several"):
        FCAM.from_classifier(classifier, **{**options, "method": "gradcam"})


@pytest.mark.parametrize("method", ["cam", "layercam"])
def test_a_teacher_of_several_scales_and_mirror_images(classifier, method):
    copies = {"scales": (1, 2), "flip": True}
    options = {"method": method, "decoder_filters": (8, 6, 4)}
    model = FCAM.from_classifier(classifier, **options, **copies)
    found = taught(model)
    maps = cams.get(method, classifier, **copies)(IMAGES, SHOWN)
    np.testing.assert_allclose(found, full_size(maps), atol=1e-5)
    assert np.abs(found - taught(FCAM.from_classifier(classifier, **options))).max() > 0.01
    again = FCAM.from_config(json.loads(json.dumps(model.get_config())))
    assert (again.teacher.scales, again.teacher.flip) == ((1, 2), True)


@pytest.mark.parametrize("layer", ["P4", ["P4", "P5"]])
def test_our_own_classifiers_teach_from_any_level_to_a_decoder_on_the_top(tiny_backbone, layer):
    classifier = Classifier(tiny_backbone, 3, weights=None)
    model = FCAM.from_classifier(classifier, method="layercam", layer=layer)
    plain = FCAM.from_classifier(classifier, method="layercam")
    names = [[layer.name for layer in each.layers] for each in (model, plain)]
    assert names[0] == names[1]
    model.compile("sgd", FCAMLoss(crf=0))
    logs = model.fit(IMAGES, SHOWN, batch_size=4, verbose=0).history
    assert np.isfinite(logs["seeds_loss"]).all()
    found = taught(model)
    maps = cams.get("layercam", classifier, layer)(IMAGES, SHOWN)
    np.testing.assert_allclose(found, full_size(maps), atol=1e-4)


@pytest.mark.parametrize("method", ["cam", "layercam"])
def test_a_step_computes_no_logits_that_it_has(method, monkeypatch):
    model = FCAM.from_classifier(tiny_classifier(), method=method, decoder_filters=())
    outputs = model(IMAGES, training=True)
    wanted = (np.argmax(outputs["logits"], -1) + 1) % 3
    expected = model.teacher.full_size(IMAGES, wanted)
    monkeypatch.setattr(SplitClassifier, "_run", lambda *_: pytest.fail("runs the head again"))
    told = {**outputs, "logits": np.eye(3, dtype="float32")[wanted]}
    found = coarse_maps(model.teacher, IMAGES, -np.ones(4, "int32"), None, told)
    np.testing.assert_allclose(found, expected, atol=1e-5)
