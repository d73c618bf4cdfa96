import keras
import keras_cv
import numpy as np
import pytest

from fcam_tf.models import BACKBONES, Classifier, backbones
from fcam_tf.models.backbones import OUTPUT_STRIDES

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 255, (2, 64, 96, 3)).astype("float32")
# Channels of P1 to P5.
CHANNELS = {
    "resnet50": (64, 256, 512, 1024, 2048),
    "vgg16": (128, 256, 512, 512, 1024),
    "inceptionv3": (64, 80, 288, 768, 1024),
    "efficientnetlite_b0": (16, 24, 40, 112, 1280),
    "efficientnetlite_b1": (16, 24, 40, 112, 1280),
    "efficientnetlite_b2": (16, 24, 48, 120, 1280),
    "resnet50_v2": (64, 256, 512, 1024, 2048),
    "densenet121": (64, 256, 512, 1024, 1024),
    "efficientnetv2_b0": (16, 32, 48, 112, 1280),
    "mobilenet_v3_large": (16, 24, 40, 112, 960),
}


def lite(width, depth):
    return {"width_coefficient": width, "depth_coefficient": depth, **backbones._LITE}


KERAS_CV = {
    "resnet50": ("ResNetBackbone", backbones._RESNET50),
    "resnet50_v2": ("ResNetV2Backbone", backbones._RESNET50),
    "densenet121": ("DenseNetBackbone", {"stackwise_num_repeats": [6, 12, 24, 16]}),
    "efficientnetlite_b0": ("EfficientNetLiteBackbone", lite(1.0, 1.0)),
    "efficientnetlite_b1": ("EfficientNetLiteBackbone", lite(1.0, 1.1)),
    "efficientnetlite_b2": ("EfficientNetLiteBackbone", lite(1.1, 1.2)),
    "efficientnetv2_b0": ("EfficientNetV2Backbone", backbones._EFFICIENTNETV2_B0),
    "mobilenet_v3_large": ("MobileNetV3Backbone", backbones._MOBILENET_V3_LARGE),
}
LARGER = ("efficientnetlite_b1", "efficientnetlite_b2")
# Those that nobody trains from the paper's recipes, and whose graphs take longest to build.
HEAVY = ("resnet50_v2", "densenet121", "efficientnetv2_b0", *LARGER)
TRAINABLE = {"vgg16": 19_639_304, "inceptionv3": 25_687_976, "resnet50": 23_917_832}


def marked(names):
    return [pytest.param(x, marks=pytest.mark.slow) if x in HEAVY else x for x in names]


def build(name, stride):
    images = keras.Input((None, None, 3), name="images")
    return keras.Model(images, BACKBONES[name].build(images, stride))


@pytest.fixture(scope="module")
def models():
    """Build each backbone at each stride once."""
    built = {}

    def get(name, stride):
        if (name, stride) not in built:
            built[name, stride] = build(name, stride)
        return built[name, stride]

    return get


def test_the_table():
    assert set(CHANNELS) == set(BACKBONES)
    for name, spec in BACKBONES.items():
        assert spec.name == name
        assert spec.output_stride in OUTPUT_STRIDES
        assert spec.licence
        assert spec.source.address


@pytest.mark.parametrize("name", TRAINABLE)
def test_trainable_parameters_with_200_classes(name):
    model = Classifier(name, 200, weights=None)
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == TRAINABLE[name]


def expected_sizes(name, size, stride):
    if name == "inceptionv3":  # pads every layer
        p1 = (size + 1) // 2
        p2 = p1 // 2 + 1
        p3 = p2 // 2 + 1
        p4 = p3 if stride == 8 else (p3 + 1) // 2
        return p1, p2, p3, p4, p4 if stride < 32 else (p4 + 1) // 2
    half = (lambda n: n // 2) if name == "vgg16" else (lambda n: (n + 1) // 2)
    sizes = [half(size)]
    for level in range(2, 6):
        if name == "densenet121" and level > 2:
            half = (2).__rfloordiv__  # its average pools drop the last cell of an odd size
        sizes.append(half(sizes[-1]) if 2**level <= stride else sizes[-1])
    return tuple(sizes)


@pytest.mark.parametrize("stride", [8, pytest.param(16, marks=pytest.mark.slow), 32])
@pytest.mark.parametrize("name", marked(CHANNELS))
def test_feature_maps(models, name, stride):
    for height, width in ((224, 224), (97, 65)):
        shapes = models(name, stride).compute_output_shape((1, height, width, 3))
        rows, columns = (expected_sizes(name, n, stride) for n in (height, width))
        expected = zip(rows, columns, CHANNELS[name], strict=True)
        assert list(shapes) == ["P1", "P2", "P3", "P4", "P5"]
        assert [shape[1:] for shape in shapes.values()] == list(expected)


@pytest.mark.parametrize("name", marked(CHANNELS))
def test_odd_sizes_run(models, name):
    model = models(name, 32)
    feature_maps = model(np.ones((1, 65, 71, 3), "float32"))
    shapes = model.compute_output_shape((1, 65, 71, 3))
    assert {
        level: tuple(feature_map.shape) for level, feature_map in feature_maps.items()
    } == shapes
    assert np.isfinite(feature_maps["P5"].numpy()).all()


@pytest.mark.parametrize("name", marked(CHANNELS))
def test_flat(models, name):
    assert not any(isinstance(layer, keras.Model) for layer in models(name, 32).layers)


@pytest.mark.parametrize("name", ["resnet50", "efficientnetlite_b0", "mobilenet_v3_large"])
def test_stable_names(models, name):
    model, again = models(name, 32), build(name, 32)
    assert [layer.name for layer in model.layers] == [layer.name for layer in again.layers]


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANNELS)
def test_weights_are_in_the_same_order_at_every_stride(models, name):
    """Weights are copied by position, and saved under names that must not depend on the build."""
    orders = [
        [layer.name for layer in models(name, stride).layers if layer.weights]
        for stride in OUTPUT_STRIDES
    ]
    assert orders[0] == orders[1] == orders[2]


def randomise(model):
    """Give batch normalisations statistics, without which an untrained model is nearly linear."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.moving_mean.shape
            layer.moving_mean.assign(RNG.normal(0, 0.1, shape))
            layer.moving_variance.assign(RNG.uniform(0.5, 1.5, shape))
            layer.beta.assign(RNG.normal(0, 0.1, shape))


@pytest.mark.parametrize("name", marked(KERAS_CV))
def test_equals_keras_cv(models, name):
    class_name, config = KERAS_CV[name]
    stock = getattr(keras_cv.models, class_name)(include_rescaling=False, **config)
    randomise(stock)
    ours = models(name, 32)
    theirs = [layer for layer in stock.layers if layer.weights]
    copies = [layer for layer in ours.layers if layer.weights]
    for origin, layer in zip(theirs, copies, strict=True):
        layer.set_weights(origin.get_weights())
    images = IMAGES / 255
    expected = stock(images).numpy()
    assert expected.std() > 1e-4
    atol = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(ours(images)["P5"], expected, rtol=1e-3, atol=atol)


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v3_large", "efficientnetlite_b0"])
def test_odd_sizes_do_not_shift_the_features(models, name):
    """A symmetric kernel sees a mirrored image mirrored, unless one side only is padded."""
    model = models(name, 32)
    stem = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    kernel, *bias = stem.get_weights()
    stem.set_weights([kernel + kernel[::-1, ::-1], *bias])
    first = keras.Model(model.input, stem.output)
    image = IMAGES[:1, :63, :63] / 255
    mirrored = first(image[:, ::-1, ::-1])[:, ::-1, ::-1]
    np.testing.assert_allclose(mirrored, first(image), atol=1e-5)


@pytest.mark.parametrize("name", marked(CHANNELS))
def test_batch_statistics_follow_as_fast_as_in_pytorch(models, name):
    """So that they hold after a short training, too; a copy of the model keeps it."""
    model = models(name, 32)
    for same in (model, keras.Model.from_config(model.get_config())):
        norms = [x for x in same.layers if isinstance(x, keras.layers.BatchNormalization)]
        assert bool(norms) == (name != "vgg16")
        assert {layer.momentum for layer in norms} <= {0.9}


def test_get():
    assert backbones.get("vgg16") is BACKBONES["vgg16"]
    with pytest.raises(ValueError, match=r"resnet5'.*mean 'resnet50'.*inceptionv3"):
        backbones.get("resnet5")
    with pytest.raises(ValueError, match=r"`backbone` is unknown: 3\. Available: resnet50"):
        backbones.get(3)


def testlimit_strides():
    assert backbones.limit_strides([1, 2, 2, 2], 4, 8) == [1, 2, 1, 1]
    assert backbones.limit_strides([1, 2, 2, 2], 4, 16) == [1, 2, 2, 1]
    assert backbones.limit_strides([1, 2, 2, 2], 4, 32) == [1, 2, 2, 2]
    assert backbones.limit_strides([1, 2, 1, 2, 2, 2], 2, 8) == [1, 2, 1, 2, 1, 1]
