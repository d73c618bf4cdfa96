import functools

import keras
import keras_cv
import numpy as np
import pytest

from fcam_tf import cams
from fcam_tf.cams.split_classifier import SplitClassifier
from fcam_tf.models import Classifier

L = keras.layers
LINEAR = ("cam", "gradcam", "gradcampp", "layercam")
ANY = ("gradcam", "xgradcam", "layercam")
NONE = np.array([-1, -1], "int32")
ENDINGS = (
    "softmax",
    "sigmoid",
    "softmax layer",
    "activation layer",
    "softmax operation",
    "sigmoid operation",
)


@pytest.fixture(scope="module")
def x(tiny):
    return tiny.images()


def randomise(model, seed=0):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def explained(tiny, x):
    """Return a function of a method, an ending and a loss that returns maps and logits."""

    @functools.cache
    def explain(name, ending, loss=None):
        options = {"seed": 0} if name in ("sscam", "smoothgradcampp") else {}
        if name == "sscam":
            options["samples"] = 2
        model = tiny.build(ending)
        if loss:
            model.compile("sgd", loss)
        return cams.get(name, model, **options).maps_and_logits(x, [0, 2])

    return explain


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", cams.METHODS)
def test_endings_give_the_maps_of_the_logits(explained, ending, name):
    # The score methods weight by sigmoids, which logits alone do not tell.
    loss = "binary_crossentropy" if "sigmoid" in ending else None
    expected, expected_logits = explained(name, "linear", loss)
    maps, logits = explained(name, ending)
    np.testing.assert_allclose(maps, expected, atol=1e-5)
    np.testing.assert_allclose(logits, expected_logits, atol=1e-5)


@pytest.mark.parametrize("ending", ["linear", *ENDINGS])
def test_probabilities_are_told_from_logits(tiny, ending):
    assert cams.ending_of(tiny.build(ending)).gives_probabilities == (ending != "linear")


def test_pooled_class_maps_are_logits_until_a_softmax():
    x = keras.Input((6, 6, 3))
    logits = L.GlobalAveragePooling2D()(L.Conv2D(4, 1)(x))
    assert not cams.ending_of(keras.Model(x, logits)).gives_probabilities
    assert cams.ending_of(keras.Model(x, L.Softmax()(logits))).gives_probabilities


def test_binary_classifier(tiny, x):
    for name in (*LINEAR, "scorecam"):
        cam, of_logits = (cams.get(name, tiny.build(e, classes=1)) for e in ("sigmoid", "linear"))
        for label in (0, 1):
            np.testing.assert_allclose(cam(x, label), of_logits(x, label), atol=1e-5)
        assert np.abs(cam(x, 0) - cam(x, 1)).max() > 0.01


def test_evidence_of_a_linear_head(tiny, x):
    model = tiny.build()
    split = SplitClassifier(model)
    evidence = split(x, np.array([-1, 2], "int32"))
    kernel, _ = tiny.head(model)
    expected = tiny.logits(model, x)
    labels = [expected[0].argmax(), 2]
    np.testing.assert_array_equal(evidence.labels, labels)
    np.testing.assert_allclose(evidence.logits, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(evidence.activations[0], tiny.activations(model, x), atol=1e-5)
    np.testing.assert_allclose(evidence.gradients[0][:, 0, 0], kernel[:, labels].T / 48, rtol=1e-5)


LINEAR_HEADS = {
    "pool": [L.GlobalAveragePooling2D()],
    "pool and dropout": [L.GlobalAveragePooling2D(), L.Dropout(0.5)],
    "dropout and pool": [L.Dropout(0.5), L.GlobalAveragePooling2D()],
    "pool, keepdims, flatten": [L.GlobalAveragePooling2D(keepdims=True), L.Flatten()],
}
OTHER_HEADS = {
    "max": [L.GlobalMaxPooling2D()],
    "flatten": [L.Flatten()],
    "norm": [L.GlobalAveragePooling2D(), L.BatchNormalization()],
    "two dense": [L.GlobalAveragePooling2D(), L.Dense(4, activation="relu")],
    "average pool": [L.AveragePooling2D((6, 8)), L.Flatten()],
}


def with_head(layers):
    body = [keras.Input((6, 8, 3)), L.Conv2D(4, 3, padding="same", activation="relu", name="maps")]
    copies = [layer.__class__.from_config(layer.get_config()) for layer in layers]
    return randomise(keras.Sequential([*body, *copies, L.Dense(3)]), seed=1)


@pytest.mark.parametrize("layers", LINEAR_HEADS.values(), ids=LINEAR_HEADS)
@pytest.mark.parametrize("name", ["gradcam", "gradcampp", "xgradcam", "layercam"])
def test_closed_form_equals_autodiff(x, layers, name):
    model = with_head(layers)
    closed, differentiated = cams.get(name, model, "maps"), cams.get(name, model, "maps")
    assert closed.split.is_linear
    differentiated.split.is_linear = False
    np.testing.assert_allclose(closed(x, [0, 2]), differentiated(x, [0, 2]), atol=1e-4)


@pytest.mark.parametrize("layers", OTHER_HEADS.values(), ids=OTHER_HEADS)
def test_other_heads_are_differentiated(x, layers):
    split = SplitClassifier(with_head(layers), ["maps"])
    assert not split.is_linear
    assert split(x, NONE).gradients[0].shape == (2, 6, 8, 4)


def mobilenet_head(size):
    """Pooling that keeps its axes, a 1x1 convolution, Reshape, Softmax: keras.applications'."""
    inputs = keras.Input((*size, 3))
    y = L.Conv2D(5, 1, activation="relu", name="maps")(inputs)
    y = L.Dropout(0.1)(L.GlobalAveragePooling2D(keepdims=True)(y))
    y = L.Reshape((3,))(L.Conv2D(3, 1, padding="same", name="scores")(y))
    return keras.Model(inputs, L.Activation("softmax")(y))


@pytest.mark.parametrize("size", [(6, 8), (None, None)])
@pytest.mark.parametrize("name", ["gradcam", "gradcampp", "xgradcam", "layercam", "scorecam"])
def test_mobilenet_head(tiny, x, name, size):
    flat = tiny.build()
    model = mobilenet_head(size)
    kernel, bias = tiny.head(flat)
    model.get_layer("maps").set_weights(flat.get_layer("maps").get_weights())
    model.get_layer("scores").set_weights([kernel[None, None], bias])
    np.testing.assert_allclose(
        cams.get(name, model)(x, [0, 2]), cams.get(name, flat)(x, [0, 2]), atol=1e-4
    )


def test_keras_applications_mobilenet():
    model = keras.applications.MobileNet((64, 64, 3), alpha=0.25, weights=None, classes=4)
    images = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 3)).astype("float32")
    assert (
        cams.get("layercam", model).split.feature_maps[0]
        is model.get_layer("conv_pw_13_relu").output
    )
    assert cams.get("layercam", model)(images).shape == (1, 2, 2)
    assert cams.get("layercam", model, "conv_pw_3_relu")(images).shape == (1, 16, 16)


def body():
    return [L.Conv2D(4, 3, padding="same", activation="relu", name="a"),
            L.Conv2D(5, 3, padding="same", activation="relu", name="b")]  # fmt: skip


def nested(kind):
    """Build the same classifier flat and with its body nested in it."""
    head = [L.GlobalAveragePooling2D(), L.Dense(3, activation="softmax")]
    inputs = keras.Input((6, 8, 3))
    if kind == "flat":
        return keras.Sequential([inputs, *body(), *head])
    trunk = keras.Sequential([keras.Input((6, 8, 3)), *body()])
    if kind == "functional":
        start = y = keras.Input((6, 8, 3))
        for layer in body():
            y = layer(y)
        trunk = keras.Model(start, y)
    if kind == "sequential in sequential":
        return keras.Sequential([inputs, trunk, keras.Sequential(head)])
    y = L.Rescaling(1.0)(inputs)
    y = trunk(y, training=False)
    for layer in head:
        y = layer(y)
    return keras.Model(inputs, y)


@pytest.fixture(scope="module")
def flat(x):
    """Return the flat classifier and a function of a method that returns its maps."""
    model = randomise(nested("flat"))

    @functools.cache
    def explain(name):
        top = cams.get(name, model)(x, [0, 2])
        return top, None if name == "cam" else cams.get(name, model, "a")(x, 1)

    return model, explain


@pytest.mark.parametrize("kind", ["functional", "sequential", "sequential in sequential"])
@pytest.mark.parametrize("name", ["cam", "gradcam", "layercam", "scorecam"])
def test_nested_equals_flat(x, flat, kind, name):
    model = nested(kind)
    model(x)
    model.set_weights(flat[0].get_weights())
    top, inner = flat[1](name)
    np.testing.assert_allclose(cams.get(name, model)(x, [0, 2]), top, atol=1e-5)
    if name != "cam":
        np.testing.assert_allclose(cams.get(name, model, "a")(x, 1), inner, atol=1e-5)


def test_keras_cv_backbone_called_as_a_layer():
    backbone = keras_cv.models.ResNetBackbone(
        stackwise_filters=[4, 8], stackwise_blocks=[1, 1], stackwise_strides=[1, 2],
        include_rescaling=True,
    )  # fmt: skip
    images = keras.Input((None, None, 3))
    head = L.Dense(3)
    model = keras.Model(images, head(L.GlobalAveragePooling2D()(backbone(images))))
    flat = keras.Model(backbone.input, head(L.GlobalAveragePooling2D()(backbone.output)))
    x = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    for name in ("cam", "gradcam", "layercam"):
        maps = cams.get(name, model)(x, 1)
        assert maps.shape == (2, 8, 8)
        np.testing.assert_allclose(maps, cams.get(name, flat)(x, 1), atol=1e-5)


def test_names_that_meet(x):
    """Nested in another process, say, with the names that Keras counted there."""
    inner = keras.Sequential([keras.Input((6, 8, 3)), L.Conv2D(3, 1, name="conv2d")])
    layers = [L.Conv2D(3, 1, name="conv2d"), inner, L.GlobalAveragePooling2D(), L.Dense(2)]
    model = randomise(keras.Sequential([keras.Input((6, 8, 3)), *layers]))
    maps, logits = cams.get("cam", model).maps_and_logits(x)
    np.testing.assert_allclose(logits, model(x), atol=1e-5)
    assert maps.shape == (2, 6, 8)


@pytest.fixture(scope="module")
def classifier(tiny_backbone):
    return Classifier(tiny_backbone, 3, weights=None)


class TestTaps:
    @pytest.mark.parametrize("level", ["P1", "P3", "P5"])
    def test_level(self, classifier, level):
        split = SplitClassifier(classifier, [level])
        images = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype("float32")
        expected = keras.Model(classifier.input, classifier.feature_maps[level])(images)
        np.testing.assert_allclose(split.activations(images), expected, atol=1e-5)

    def test_default_is_the_top(self, classifier):
        assert SplitClassifier(classifier).feature_maps[0] is classifier.feature_maps["P5"]

    def test_layer_or_name(self, tiny, x):
        model = tiny.build(hidden=True)
        maps = [cams.get("gradcam", model, tap)(x) for tap in ("maps", model.get_layer("maps"))]
        np.testing.assert_array_equal(maps[0], maps[1])
        assert np.any(cams.get("gradcam", model, "hidden")(x).numpy() != maps[0].numpy())

    def test_unknown(self, tiny, classifier):
        with pytest.raises(ValueError, match=r"`layer` is not in the model: 'top'.*are maps"):
            SplitClassifier(tiny.build(), ["top"])
        with pytest.raises(ValueError, match=r"'P6'.*P1, P2, P3, P4, P5"):
            SplitClassifier(classifier, ["P6"])

    def test_no_map(self, tiny):
        with pytest.raises(ValueError, match=r"must name a map.*'pool' gives \(None, 5\)"):
            SplitClassifier(tiny.build(), ["pool"])


def test_frozen_model_with_a_way_around_the_tap(x):
    """No variable is trained and the map is not passed by all, but gradients are the same."""

    def build(trainable):
        inputs = keras.Input((6, 8, 3))
        y = L.Conv2D(4, 1, activation="relu", trainable=trainable)(inputs)
        y = L.Add()([y, L.Conv2D(4, 1, activation="relu", name="tap", trainable=trainable)(y)])
        y = L.Conv2D(4, 3, activation="tanh", trainable=trainable)(y)
        outputs = L.Dense(3, trainable=trainable)(L.GlobalAveragePooling2D()(y))
        return randomise(keras.Model(inputs, outputs))

    for name in ANY:
        free, frozen = (
            cams.get(name, build(trainable), "tap")(x, 1) for trainable in (True, False)
        )
        assert free.numpy().max() == 1
        np.testing.assert_allclose(frozen, free, atol=1e-6)


def test_errors():
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(TypeError, match="functional or built sequential"):
        SplitClassifier(Subclassed())
    with pytest.raises(TypeError, match="call a Sequential once on data"):
        SplitClassifier(keras.Sequential([L.Conv2D(2, 1), L.GlobalAveragePooling2D()]))

    images, extra = keras.Input((6, 8, 3)), keras.Input((3,))
    y = L.Conv2D(3, 1)(images)
    row = L.GlobalAveragePooling2D()(y)
    with pytest.raises(ValueError, match=r"one tensor \(batch, classes\).*keras.Model"):
        SplitClassifier(keras.Model(images, [row, y]))
    with pytest.raises(ValueError, match=r"one tensor \(batch, classes\).*\(None, 6, 8, 3\)"):
        SplitClassifier(keras.Model(images, y))
    other = keras.Input((6, 8, 3), name="other")
    both = L.Concatenate()([row, L.GlobalAveragePooling2D()(other)])
    with pytest.raises(ValueError, match=r"`image_input` must say which.*other, of shapes"):
        SplitClassifier(keras.Model([images, other], L.Dense(2)(both)))
    with pytest.raises(ValueError, match="no map"):
        SplitClassifier(keras.Model(extra, L.Dense(2)(extra)))


@pytest.mark.parametrize("around", [False, True], ids=["all pass", "one leads around"])
def test_a_changed_map_gives_what_the_rest_makes_of_it(x, around):
    inputs = keras.Input((6, 8, 3))
    y = L.Conv2D(3, 1, name="map")(inputs)
    z = L.Add()([y, inputs]) if around else y
    scored = L.Dense(2)(L.GlobalAveragePooling2D()(L.ReLU()(z)))
    split = SplitClassifier(keras.Model(inputs, scored), ["map"])
    x = keras.ops.convert_to_tensor(x)
    (maps,), logits = split.maps_and_logits(x)
    kept = np.tile([1.0, 0.0, 2.0], (len(x), 1)).astype("float32")
    found = split.logits_without(x, maps, np.ones_like(kept))
    np.testing.assert_allclose(found, logits, atol=1e-6)
    changed = maps * kept[:, None, None]
    expected = keras.Model([inputs, y], scored)([x, changed])
    np.testing.assert_allclose(split.logits_without(x, maps, kept), expected, atol=1e-6)
