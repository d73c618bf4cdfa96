import keras
import numpy as np
import pytest

from fcam_tf import cams
from fcam_tf.graphs.resize import resize
from fcam_tf.models import FCAM, Classifier
from fcam_tf.predict import Localizer, find_label


@pytest.fixture(scope="module")
def classifier():
    """Two classes, red and blue; the last map has a quarter of the image's resolution."""
    images = keras.Input((None, None, 3))
    x = keras.layers.AveragePooling2D(4)(images)
    x = keras.layers.Conv2D(2, 1, use_bias=False, activation="relu", name="colours")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(images, keras.layers.Dense(2, use_bias=False)(x))
    model.get_layer("colours").set_weights([np.array([[1, -1], [0, 0], [-1, 1]])[None, None] / 255])
    model.layers[-1].set_weights([4 * np.eye(2)])
    return model


@pytest.fixture(scope="module")
def images():
    """Black, with a red square at the top left and a smaller blue one at the bottom right."""
    images = np.zeros((2, 32, 48, 3), np.uint8)
    images[:, 4:16, 8:24, 0] = 255
    images[:, 24:28, 40:44, 2] = 255
    images[1] = images[1, :, :, ::-1]
    return images


@pytest.mark.parametrize("method", ["cam", "layercam", "gradcam"])
def test_finds_the_predicted_class(classifier, images, method):
    result = Localizer(classifier, method, 0.5)(images)
    np.testing.assert_array_equal(result.labels, [0, 1])
    assert result.heatmaps.shape == result.masks.shape == (2, 32, 48)
    assert result.heatmaps.dtype == np.float32
    assert result.heatmaps.max() <= 1
    np.testing.assert_array_equal(result.boxes, [[8, 4, 23, 15]] * 2)
    # Red covers 3 x 4 of the 8 x 12 cells, blue 1: logits 4 * 12 / 96 and 4 * 1 / 96.
    np.testing.assert_allclose(result.scores, 1 / (1 + np.exp(-44 / 96)), rtol=1e-5)


def test_finds_a_given_class(classifier, images):
    result = Localizer(classifier, "cam", 0.5)(images, np.array([1, 0]))
    np.testing.assert_array_equal(result.labels, [1, 0])
    np.testing.assert_array_equal(result.boxes, [[40, 24, 43, 27]] * 2)
    np.testing.assert_allclose(result.scores, 1 / (1 + np.exp(44 / 96)), rtol=1e-5)


def test_what_it_knows_of_the_classifier(classifier):
    localizer = Localizer(classifier)
    assert (localizer.num_classes, localizer.class_names) == (2, None)
    assert localizer.image_size == (224, 224)
    fixed = keras.Sequential(
        [keras.Input((64, 96, 3)), *keras.models.clone_model(classifier).layers[1:]]
    )
    assert Localizer(fixed).image_size == (64, 96)


def test_refuses_nonsense(classifier):
    with pytest.raises(ValueError, match="layercam"):
        Localizer(classifier, "layercamm")
    with pytest.raises(ValueError, match="`threshold`"):
        Localizer(classifier, threshold=7)


def test_damaged_weights_are_told(classifier, images):
    damaged = keras.models.clone_model(classifier)
    damaged.layers[-1].set_weights([np.full((2, 2), np.nan)])
    with pytest.raises(ValueError, match="not finite"):
        Localizer(damaged)(images)
    with pytest.raises(ValueError, match="the images or the weights contain NaN"):
        Localizer(classifier)(np.full(images.shape, np.nan))


def test_a_method_is_the_paper_s_row_and_two_stages_are_fused_where_none_is_named(images):
    classifier = Classifier("vgg16", 3, weights=None)
    labels, expected = np.array([0, 2]), {}
    for method, layer, weighed, text in (
        (None, None, ["P4", "P5"], "P4,P5"),
        ("layercam", None, "P5", "P5"),
        ("layercam", "conv6", "P5", "P5"),  # the same map by its other name
        (None, "P4", "P4", "P4"),
        (
            None,
            [classifier.get_layer("block5_conv2"), "P3"],
            ["P3", "block5_conv2"],
            "P3,block5_conv2",
        ),
    ):
        localizer = Localizer(classifier, method, layer=layer)
        assert (localizer.method, localizer.layer) == ("layercam", text)
        if text not in expected:
            maps = cams.get("layercam", classifier, weighed)(images, labels)
            expected[text] = resize(maps[..., None], (32, 48))[..., 0]
        np.testing.assert_array_equal(localizer(images, labels).heatmaps, expected[text])


@pytest.fixture(scope="module")
def fcam(classifier):
    return FCAM.from_classifier(classifier, decoder_filters=(4, 4))


def test_a_decoder_s_maps(fcam, images):
    localizer = Localizer(fcam, threshold=0.5)
    assert (localizer.method, localizer.layer) == ("fcam", "")
    assert localizer.num_classes == 2
    found, expected = localizer(images), fcam.localize(images, threshold=0.5)
    np.testing.assert_allclose(found.heatmaps, expected.heatmaps, atol=1e-6)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.labels, [0, 1])


def test_cam_methods_explain_the_classifier_within(fcam, classifier, images):
    localizers = [Localizer(model, "cam", 0.5) for model in (fcam, classifier)]
    assert [localizer.layer for localizer in localizers] == ["colours", "colours"]
    found, expected = (localizer(images) for localizer in localizers)
    np.testing.assert_allclose(found.heatmaps, expected.heatmaps, atol=1e-5)


def test_options_of_the_method(classifier, fcam, images):
    localizer = Localizer(classifier, "cam", 0.5, scales=(1, 2), flip=True)
    assert localizer.options == {"scales": [1, 2], "flip": True}
    want = cams.get("cam", classifier, scales=(1, 2), flip=True).full_size(images)
    np.testing.assert_allclose(localizer(images).heatmaps, want, atol=1e-6)
    found, want = Localizer(fcam, flip=True)(images), fcam.localize(images, flip=True)
    np.testing.assert_allclose(found.heatmaps, want.heatmaps, atol=1e-6)
    found, want = Localizer(fcam, refine="crf")(images), fcam.localize(images, refine="crf")
    np.testing.assert_allclose(found.heatmaps, want.heatmaps, atol=1e-6)
    np.testing.assert_array_equal(found.boxes, want.boxes)
    assert np.abs(want.heatmaps - fcam.localize(images).heatmaps).max() > 1e-3
    with pytest.raises(ValueError, match="`refine` must be 'crf'"):
        fcam.localize(images, refine=True)
    with pytest.raises(ValueError, match="`score` must be left out"):
        Localizer(classifier, "cam", score=cams.scores.value(1))


def test_no_decoder(classifier, fcam):
    with pytest.raises(ValueError, match="this is a classifier"):
        Localizer(classifier, "fcam")
    with pytest.raises(ValueError, match="`layer` must be left out"):
        Localizer(fcam, layer="colours")


NAMES = ("tench, Tinca tinca", "crane", "tabby, tabby cat", "tiger cat", "crane")


@pytest.mark.parametrize(
    ("wanted", "label"),
    [
        (3, 3),
        ("3", 3),
        (" 0 ", 0),
        ("tabby", 2),
        ("Tabby Cat", 2),
        ("tinca tinca", 0),
        ("tench, Tinca tinca", 0),
        ("tiger cat", 3),
    ],
)
def test_labels_that_are_found(wanted, label):
    assert find_label(wanted, NAMES, len(NAMES)) == label


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (5, r"must be in 0\.\.4\. Received: 5"),
        ("-1", r"must be in 0\.\.4\. Received: -1"),
        ("crane", r"matches several classes; give an index: 1 \(crane\); 4 \(crane\)"),
        ("tabi", r"'tabi' is not a class of this model; did you mean 'tabby'"),
        ("cat", r"did you mean 'tabby cat', 'tiger cat'\?"),
        ("zzzzzz", r"is not a class of this model$"),
    ],
)
def test_labels_that_are_refused(wanted, message):
    with pytest.raises(ValueError, match=message):
        find_label(wanted, NAMES, len(NAMES))


def test_labels_without_names():
    assert find_label("2", None, 3) == 2


def test_of_classes_named_by_numbers_a_text_is_the_name():
    names = ["1", "2", "3"]
    assert [find_label(text, names, 3) for text in names] == [0, 1, 2]
    assert [find_label(index, names, 3) for index in range(3)] == [0, 1, 2]
    assert find_label("0", names, 3) == 0


def test_a_name_without_names():
    with pytest.raises(ValueError, match="this model has no class names"):
        find_label("tabby", None, 3)
