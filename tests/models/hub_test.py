import functools
import json
import sys

import keras
import numpy as np
import pytest

from fcam_tf.models import FCAM, Classifier, WeightsUnavailableError, load
from fcam_tf.models.decoder import object_map
from fcam_tf.names import HUB, is_backbone

keras_hub = pytest.importorskip("keras_hub")

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 255, (2, 64, 96, 3)).astype("float32")
SCALE, OFFSET = (0.01, 0.02, 0.03), (-1.0, -2.0, -3.0)


def resnet(**options):
    return keras_hub.models.ResNetBackbone(
        **{
            "input_conv_filters": [64],
            "input_conv_kernel_sizes": [7],
            "stackwise_num_filters": [64, 8, 12, 16],
            "stackwise_num_blocks": [1, 2, 1, 1],
            "stackwise_num_strides": [1, 2, 2, 2],
            "block_type": "basic_block",
            **options,
        }
    )


def efficientnet(block):
    return keras_hub.models.EfficientNetBackbone(
        stackwise_width_coefficients=[1.0] * 5,
        stackwise_depth_coefficients=[1.0] * 5,
        stackwise_kernel_sizes=[3, 3, 5, 3, 3],
        stackwise_num_repeats=[1, 2, 1, 1, 1],
        stackwise_input_filters=[8, 8, 16, 24, 32],
        stackwise_output_filters=[8, 16, 24, 32, 40],
        stackwise_expansion_ratios=[1, 2, 2, 2, 2],
        stackwise_squeeze_and_excite_ratios=[0.25] * 5,
        stackwise_strides=[1, 2, 2, 2, 2],
        stackwise_block_types=[block] * 5,
        dropout=0.9,
    )


def mobilenet():
    return keras_hub.models.MobileNetBackbone(
        stackwise_expansion=[[16, 24], [24, 32], [32], [40]],
        stackwise_num_blocks=[2, 2, 1, 1],
        stackwise_num_filters=[[16, 16], [24, 24], [32], [40]],
        stackwise_kernel_size=[[3, 3], [5, 5], [3], [5]],
        stackwise_num_strides=[[2, 1], [2, 1], [2], [2]],
        stackwise_se_ratio=[[None, None], [0.25, 0.25], [None], [0.25]],
        stackwise_activation=[["relu", "relu"], *[["hard_swish"] * n for n in (2, 1, 1)]],
        stackwise_padding=[[1, 1], [2, 2], [1], [2]],
        output_num_filters=64,
        input_activation="hard_swish",
        output_activation="hard_swish",
        input_num_filters=16,
        depthwise_filters=8,
        depthwise_stride=1,
        depthwise_residual=False,
        squeeze_and_excite=None,
        last_layer_filter=48,
    )


# What is built, and the channels of P1 to P5.
KINDS = {
    "resnet": (resnet, (64, 64, 8, 12, 16)),
    "resnet_v2": (lambda: resnet(use_pre_activation=True), (64, 64, 8, 12, 16)),
    "resnet_vd": (lambda: resnet(block_type="bottleneck_block_vd"), (64, 256, 32, 48, 64)),
    "efficientnet": (lambda: efficientnet("v1"), (8, 16, 24, 32, 1280)),
    "efficientnet_v2": (lambda: efficientnet("fused"), (8, 16, 24, 32, 1280)),
    "mobilenet": (mobilenet, (8, 16, 24, 32, 48)),
}


def randomise(model):
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([RNG.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    """Return a function that writes the preset of a kind once, and returns network and name."""
    made = {}

    def get(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            stock = KINDS[kind][0]()
            randomise(stock)
            stock.save_to_preset(str(folder))
            converter = keras_hub.layers.ImageConverter(scale=SCALE, offset=OFFSET)
            converter.save_to_preset(str(folder))
            made[kind] = stock, f"{HUB}{folder}"
        return made[kind]

    return get


@pytest.fixture(scope="module")
def classifiers(presets):
    """Return a function that builds the classifier of a kind once at each stride."""

    @functools.cache
    def get(kind, stride):
        return Classifier(presets(kind)[1], 3, output_stride=stride)

    return get


def top_of(model, images):
    return keras.Model(model.input, model.feature_maps["P5"])(images).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_computes_what_the_preset_does(presets, classifiers, kind):
    stock, model = presets(kind)[0], classifiers(kind, 32)
    expected = stock(IMAGES * SCALE + OFFSET).numpy()
    assert expected.std() > 1e-4
    atol = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(top_of(model, IMAGES), expected, rtol=1e-3, atol=atol)
    assert model(IMAGES).shape == (2, 3)
    np.testing.assert_allclose(model.zero_colour, (100, 100, 100))


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("kind", KINDS)
def test_feature_maps(classifiers, kind, stride):
    model = classifiers(kind, stride)
    maps = keras.Model(model.input, model.feature_maps)
    shapes = maps.compute_output_shape((1, 128, 192, 3))
    for level, channels in zip(range(1, 6), KINDS[kind][1], strict=True):
        factor = min(2**level, stride)
        assert shapes[f"P{level}"] == (1, 128 // factor, 192 // factor, channels)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_fit_at_every_stride(classifiers, kind):
    """In the same order: up to the last stride that both have, they compute the same."""
    whole, finer = (classifiers(kind, stride) for stride in (32, 8))
    for a, b in zip(whole.get_weights()[:-2], finer.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(a, b)
    names = [[each.name for each in model.layers if each.weights] for model in (whole, finer)]
    assert names[0] == names[1]
    fine, coarse = (
        keras.Model(model.input, model.feature_maps["P3"])(IMAGES) for model in (whole, finer)
    )
    np.testing.assert_allclose(fine, coarse, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["resnet", "efficientnet_v2", "mobilenet"])
def test_saves_and_loads_without_the_preset(classifiers, kind, tmp_path, monkeypatch):
    model = classifiers(kind, 32).copy()
    model.freeze()
    fcam = FCAM.from_classifier(model, method="layercam", decoder_filters=(8, 6, 4, 4, 4))
    fcam.save(tmp_path / "fcam.keras")
    model.save(tmp_path / "classifier.keras")
    expected, logits = fcam(IMAGES), model(IMAGES)
    monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", None)
    again = load(tmp_path / "fcam.keras")
    for key in ("fcam", "logits"):
        np.testing.assert_allclose(again(IMAGES)[key], expected[key], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(load(tmp_path / "classifier.keras")(IMAGES), logits, rtol=1e-4)
    np.testing.assert_allclose(model.copy()(IMAGES), logits, rtol=1e-4)


def test_decoder_skips_all_levels(presets):
    model = Classifier(presets("mobilenet")[1], 3, weights=None)
    feature_maps, x, filters = object_map(model, model.feature_maps["P5"], None)
    assert set(feature_maps) == {"P1", "P2", "P3", "P4", "P5"}
    shape = keras.Model(model.input, x).compute_output_shape((1, 64, 96, 3))
    assert shape == (1, 64, 96, 2)
    assert filters == (256, 128, 64, 32, 16)


@pytest.mark.parametrize("kind", ["efficientnet", "efficientnet_v2"])
def test_dropout_is_off_while_frozen(classifiers, kind):
    model = classifiers(kind, 32).copy()
    images = np.repeat(IMAGES, 8, 0)  # the whole path of an image is dropped, or nothing
    trained = [model(images, training=True).numpy() for _ in range(2)]
    assert np.abs(trained[0] - trained[1]).max() > 1e-6
    model.freeze()
    np.testing.assert_allclose(model(images, training=True), model(images), rtol=1e-5)


def test_timm(tmp_path):
    """A folder as timm's are on Hugging Face: their names, PyTorch's order of axes."""
    safetensors = pytest.importorskip("safetensors.numpy")
    stock = keras_hub.models.ResNetBackbone.from_config(
        resnet().get_config()
        | {"stackwise_num_filters": [64, 128, 256, 512], "stackwise_num_blocks": [2] * 4}
    )
    randomise(stock)
    tensors = {}

    def write(ours, theirs, norm):
        values = stock.get_layer(ours).get_weights()
        if norm:
            keys = ("weight", "bias", "running_mean", "running_var")
            tensors.update({f"{theirs}.{k}": v for k, v in zip(keys, values, strict=True)})
        else:
            tensors[f"{theirs}.weight"] = np.ascontiguousarray(values[0].transpose(3, 2, 0, 1))

    write("conv1_conv", "conv1", False)
    write("conv1_bn", "bn1", True)
    for stack in range(4):
        for block in range(2):
            ours, theirs = f"stack{stack}_block{block}", f"layer{stack + 1}.{block}"
            if stack and not block:
                write(f"{ours}_0_conv", f"{theirs}.downsample.0", False)
                write(f"{ours}_0_bn", f"{theirs}.downsample.1", True)
            for n in (1, 2):
                write(f"{ours}_{n}_conv", f"{theirs}.conv{n}", False)
                write(f"{ours}_{n}_bn", f"{theirs}.bn{n}", True)
    safetensors.save_file(tensors, tmp_path / "model.safetensors")
    pixels = {"mean": [0.5, 0.4, 0.3], "std": [0.25, 0.2, 0.1], "interpolation": "bilinear"}
    config = {"architecture": "resnet18", "num_classes": 10, "num_features": 512}
    config["pretrained_cfg"] = {"input_size": [3, 224, 224], **pixels}
    (tmp_path / "config.json").write_text(json.dumps(config))

    model = Classifier(f"{HUB}{tmp_path}", 3, output_stride=16)
    whole = Classifier(f"{HUB}{tmp_path}", 3)
    expected = stock((IMAGES / 255 - pixels["mean"]) / pixels["std"]).numpy()
    atol = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(top_of(whole, IMAGES), expected, rtol=1e-3, atol=atol)
    assert top_of(model, IMAGES).shape == (2, 4, 6, 512)


def test_refuses_what_it_cannot_use(tmp_path, presets):
    resnet().save_to_preset(str(tmp_path / "bare"))
    with pytest.raises(WeightsUnavailableError, match=r"needs an image converter, too"):
        Classifier(f"{HUB}{tmp_path / 'bare'}", 3)
    with pytest.raises(WeightsUnavailableError, match=r"cannot read: '.*nowhere'.*keras_hub:FOLD"):
        Classifier(f"{HUB}{tmp_path / 'nowhere'}", 3)
    with pytest.raises(ValueError, match=r"`baseline` 'adl' is not set up for 'keras_hub:"):
        Classifier(presets("resnet")[1], 3, weights=None, baseline="adl")
    dense = keras_hub.models.DenseNetBackbone([1, 1, 1, 1])
    dense.save_to_preset(str(tmp_path / "dense"))
    keras_hub.layers.ImageConverter(scale=1 / 255).save_to_preset(str(tmp_path / "dense"))
    name = f"{HUB}{tmp_path / 'dense'}"
    assert Classifier(name, 3).output_stride == 32
    with pytest.raises(ValueError, match=r"`output_stride` of 'keras_hub:.*ResNetB.*Received: 8"):
        Classifier(name, 3, output_stride=8)
    vit = keras_hub.models.ViTBackbone((32, 32, 3), 8, 1, 1, 8, 8)
    vit.save_to_preset(str(tmp_path / "vit"))
    keras_hub.layers.ImageConverter(scale=1 / 255).save_to_preset(str(tmp_path / "vit"))
    with pytest.raises(ValueError, match=r"cannot be built for images of any size.*cams\.get"):
        Classifier(f"{HUB}{tmp_path / 'vit'}", 3)


def test_names():
    assert is_backbone("resnet50")
    assert is_backbone("keras_hub:resnet_18_imagenet")
    assert not is_backbone("resnet_18_imagenet")


def test_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ImportError, match=r"need keras-hub: pip install 'fcam_tf\[hub\]'"):
        Classifier("keras_hub:resnet_18_imagenet", 3)
