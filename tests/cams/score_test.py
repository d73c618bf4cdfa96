import keras
import numpy as np
import pytest
from keras.applications import densenet, mobilenet, vgg16

from fcam_tf import cams
from fcam_tf.graphs.resize import resize
from fcam_tf.models import Classifier

L = keras.layers


def softmax(v):
    e = np.exp(v - v.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.fixture(scope="module")
def model():
    """Maps of half the image's size, after a scaling of the images."""
    rng = np.random.default_rng(3)
    inputs = keras.Input((None, None, 3))
    y = L.Rescaling(0.5, offset=0.25, name="scaling")(inputs)
    y = L.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="maps")(y)
    model = keras.Model(inputs, L.Dense(3, name="scores")(L.GlobalAveragePooling2D()(y)))
    model.set_weights([rng.normal(0, 1.5, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def x(tiny):
    return tiny.images(2, 8, 12)


def brute_force(model, x, label, filters):
    """Loop over images, channels and (factor, noise) filters."""
    scaled = x * 0.5 + 0.25
    tail = keras.Model(model.get_layer("scaling").output, model.output)
    maps = keras.Model(model.input, model.get_layer("maps").output)(x).numpy()
    result = []
    for image, a in zip(scaled, maps, strict=True):
        total = np.zeros(a.shape[:2])
        for k in range(a.shape[-1]):
            span = np.ptp(a[..., k])
            if span == 0:
                continue
            channel = (a[..., k] - a[..., k].min()) / span
            mask = resize(channel[None, :, :, None], image.shape[:2]).numpy()[0]
            score = 0.0
            for factor, noise in filters:
                score += softmax(tail((image * (factor * mask + noise))[None]).numpy())[0, label]
            total += score * channel
        result.append(np.maximum(total, 0))
    return np.array(result)


CLOSE = {"rtol": 1e-3, "atol": 1e-4}


@pytest.mark.parametrize("label", [0, 2])
def test_scorecam_equals_a_loop(tiny, model, x, label):
    raw = brute_force(model, x, label, [(1.0, 0.0)])
    np.testing.assert_allclose(
        cams.get("scorecam", model, baseline=-0.5)(x, label), tiny.min_max(raw), **CLOSE
    )


def test_iscam_equals_a_loop(tiny, model, x):
    """The n-th image is the sum of i / N times the masked one; scores are added up."""
    steps = np.cumsum(np.arange(1, 5) / 4)
    raw = brute_force(model, x, 1, [(factor, 0.0) for factor in steps])
    cam = cams.get("iscam", model, intervals=4, baseline=-0.5)
    np.testing.assert_allclose(cam(x, 1), tiny.min_max(raw), **CLOSE)


def test_sscam_equals_a_loop(tiny, model, x):
    """Each noise has the shape of one image and is shared by all channels."""
    seeds = keras.random.SeedGenerator(7)
    noises = [2.0 * keras.random.normal((1, 8, 12, 3), seed=seeds).numpy()[0] for _ in range(3)]
    raw = brute_force(model, x, 1, [(1.0, noise) for noise in noises])
    cam = cams.get("sscam", model, samples=3, seed=7, baseline=-0.5)
    np.testing.assert_allclose(cam(x, 1), tiny.min_max(raw), **CLOSE)


def test_the_methods_differ(model, x):
    maps = [cams.get(n, model)(x, 1).numpy() for n in ("scorecam", "iscam")]
    maps.append(cams.get("sscam", model, seed=0)(x, 1).numpy())
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(maps[i] - maps[j]).max() > 1e-3


def test_defaults_are_the_tables(model):
    assert cams.get("scorecam", model).channels is None
    assert cams.get("sscam", model).samples == 35
    assert cams.get("sscam", model).std == 2.0
    assert cams.get("iscam", model).intervals == 10
    assert cams.get("scorecam", model).batch_size == 32


@pytest.mark.parametrize("name", ["scorecam", "sscam", "iscam", "ablationcam"])
def test_chunks_do_not_change_the_result(model, x, name):
    options = {"samples": 2, "seed": 1} if name == "sscam" else {}
    whole = cams.get(name, model, batch_size=100, **options)(x, [0, 2])
    for batch_size in (1, 5, 12):
        part = cams.get(name, model, batch_size=batch_size, **options)(x, [0, 2])
        np.testing.assert_allclose(part, whole, atol=1e-5)


def test_seed_of_the_noise(model, x):
    runs = [cams.get("sscam", model, samples=2, seed=s) for s in (1, 1, 2)]
    first = [run(x, 1).numpy() for run in runs]
    np.testing.assert_array_equal(first[0], first[1])
    assert np.any(first[0] != first[2])
    assert np.any(runs[0](x, 1).numpy() != first[0])


def test_constant_channels_are_left_out(tiny, x):
    model = tiny.build()
    kernel, bias = model.get_layer("maps").get_weights()
    kernel[..., 1] = 0
    bias[1] = 5.0  # the same everywhere
    model.get_layer("maps").set_weights([kernel, bias])
    cam = cams.get("scorecam", model, baseline=0)
    maps, _ = cam.raw_maps(x, np.array([1, 1], "int32"))
    a = tiny.activations(model, x)
    assert np.ptp(a[..., 1]) == 0
    span = np.ptp(a, axis=(1, 2), keepdims=True)
    channels = np.where(span > 0, (a - a.min((1, 2), keepdims=True)) / np.maximum(span, 1e-9), 0)
    raw = 0
    for k in (0, 2, 3, 4):
        masked = x * channels[..., k : k + 1]
        weights = softmax(tiny.logits(model, masked))[:, 1]
        raw = raw + weights[:, None, None] * channels[..., k]
    np.testing.assert_allclose(maps, raw, **CLOSE)


def test_progress(model, x, capsys):
    quiet = cams.get("scorecam", model)(x, 1)
    assert capsys.readouterr().out == ""
    loud = cams.get("scorecam", model, progress=True)(x, 1)
    assert "scorecam: channels" in capsys.readouterr().out
    np.testing.assert_array_equal(quiet, loud)


def test_wrong_batch_size(model):
    with pytest.raises(ValueError, match=r"`batch_size` must be 1 or more. Received: 0"):
        cams.get("scorecam", model, batch_size=0)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [("sscam", "samples", 0), ("sscam", "std", -1), ("iscam", "intervals", 0)],
)
def test_wrong_numbers_of_passes(model, name, option, value):
    with pytest.raises(ValueError, match=f"`{option}` must be .*Received: {value}"):
        cams.get(name, model, **{option: value})


def written(kind, convolution, head):
    """One function of raw pixels, by other operations: (x - 127.5) / 50 in front."""
    x = images = keras.Input((8, 12, 3))
    if kind == "rescaling":
        x = L.Rescaling(1 / 50, -127.5 / 50)(x)
    elif kind == "normalization":
        x = L.Normalization(mean=127.5, variance=2500.0)(x)
    elif kind == "operations":
        x = (x - 127.5) / 50.0
    elif kind == "lambda":
        x = L.Lambda(lambda v: (v - 127.5) / 50)(x)
    elif kind == "two steps":
        x = L.Rescaling(2.55)(L.Rescaling(1 / 127.5, -1.0)(x))
    else:
        convolution = [convolution[0] / 50, convolution[1] - 2.55 * convolution[0].sum((0, 1, 2))]
    layer = L.Conv2D(5, 3, strides=2, activation="relu")
    dense = L.Dense(3)
    model = keras.Model(images, dense(L.GlobalAveragePooling2D()(layer(x))))
    layer.set_weights(convolution)
    dense.set_weights(head)
    return model


@pytest.mark.parametrize("options", [{}, {"baseline": (120, 110, 100)}], ids=["mean", "colour"])
@pytest.mark.parametrize("name", ["scorecam", "sscam", "iscam"])
def test_masked_pixels_mean_the_same_however_the_scaling_is_written(name, options):
    rng = np.random.default_rng(0)
    weights = [[rng.normal(size=(3, 3, 3, 5)), rng.normal(size=5)]]
    weights.append([rng.normal(size=(5, 3)), rng.normal(size=3)])
    x = rng.uniform(0, 255, (2, 8, 12, 3)).astype("float32")
    options = options | ({"seed": 0, "samples": 2} if name == "sscam" else {})
    kinds = ("rescaling", "normalization", "operations", "lambda", "two steps", "none")
    maps = [np.asarray(cams.get(name, written(k, *weights), **options)(x, 1)) for k in kinds]
    assert np.ptp(maps[0]) == 1
    for kind, other in zip(kinds, maps, strict=True):
        np.testing.assert_allclose(other, maps[0], atol=2e-3, err_msg=kind)


def preprocessed(mode, convolution, head, *, in_a_layer):
    """The function of `written`, behind preprocess_input of keras.applications."""
    family, turned, mean, scale = {
        "tf": (mobilenet, False, [127.5] * 3, [127.5] * 3),
        "torch": (densenet, False, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
        "caffe": (vgg16, True, [103.939, 116.779, 123.68], [1, 1, 1]),
    }[mode]
    x = images = keras.Input((8, 12, 3))
    prepare = family.preprocess_input
    x = L.Lambda(prepare)(x) if in_a_layer else prepare(x)
    kernel = convolution[0][:, :, ::-1] if turned else convolution[0]
    shift = (kernel * (np.array(mean)[:, None] - 127.5)).sum((0, 1, 2)) / 50
    layer, dense = L.Conv2D(5, 3, strides=2, activation="relu"), L.Dense(3)
    model = keras.Model(images, dense(L.GlobalAveragePooling2D()(layer(x))))
    layer.set_weights([kernel * np.array(scale)[:, None] / 50, convolution[1] + shift])
    dense.set_weights(head)
    return model


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
def test_masked_pixels_mean_the_same_behind_preprocess_input(mode):
    rng = np.random.default_rng(0)
    weights = [[rng.normal(size=(3, 3, 3, 5)), rng.normal(size=5)]]
    weights.append([rng.normal(size=(5, 3)), rng.normal(size=3)])
    x = rng.uniform(0, 255, (2, 8, 12, 3)).astype("float32")
    wanted = written("none", *weights)
    for in_a_layer in (False, True):
        model = preprocessed(mode, *weights, in_a_layer=in_a_layer)
        np.testing.assert_allclose(model(x), wanted(x), atol=1e-3)
        maps = [cams.get("scorecam", each)(x, 1) for each in (model, wanted)]
        assert np.ptp(maps[1]) == 1
        np.testing.assert_allclose(*maps, atol=2e-3)


def test_masked_pixels_become_the_baseline(tiny):
    """With one channel, everything but its brightest cell fades to the colour."""
    model, x = tiny.build(), tiny.images(1)
    masks = np.zeros((1, 6, 8, 1), "float32")
    for baseline, colour in ((0.25, [0.25] * 3), (None, x.mean((1, 2))[0])):
        cam = cams.get("scorecam", model, baseline=baseline)
        found = cam.score([x], masks, np.int32([1]), np.float32(1), np.float32(0))
        flat = np.broadcast_to(np.float32(colour), x.shape)
        np.testing.assert_allclose(found, softmax(tiny.logits(model, flat))[:, 1], rtol=1e-4)


@pytest.mark.parametrize("baseline", [(1, 2), np.nan, [[1, 2, 3]]])
def test_a_baseline_that_is_no_colour(model, baseline):
    with pytest.raises(ValueError, match=r"`baseline` must be one number, or 3 of them"):
        cams.get("scorecam", model, baseline=baseline)


@pytest.mark.parametrize("name", ["vgg16", "resnet50"])
def test_our_own_models_are_masked_with_what_their_preprocessing_makes_zero(name):
    classifier = Classifier(name, 2, weights=None)
    layer = classifier.get_layer("preprocessing")
    zero = keras.Model(classifier.input, layer.output)
    colour = np.float32(cams.get("scorecam", classifier).baseline)
    np.testing.assert_allclose(zero(np.broadcast_to(colour, (1, 4, 4, 3))), 0, atol=1e-4)


@pytest.mark.parametrize("name", ["scorecam", "ablationcam"])
def test_the_channels_that_vary_most_count(tiny, x, name):
    model = tiny.build()
    a = tiny.activations(model, x)
    options = {"baseline": 0} if name == "scorecam" else {}
    raw = np.zeros(a.shape[:3])
    for i, maps in enumerate(a):
        for k in np.argsort(-maps.var((0, 1)))[:2]:
            channel = maps[..., k]
            if name == "scorecam":
                channel = (channel - channel.min()) / np.ptp(channel)
                masked = (x[i] * channel[..., None])[None]
                raw[i] += softmax(tiny.logits(model, masked))[0, 1] * channel
            else:
                raw[i] += tiny.head(model)[0][k, 1] * channel.mean() * channel
    few = cams.get(name, model, channels=2, **options)(x, 1)
    np.testing.assert_allclose(few, tiny.min_max(np.maximum(raw, 0)), **CLOSE)
    everything = cams.get(name, model, **options)(x, 1)
    assert np.abs(few - everything).max() > 1e-3
    np.testing.assert_allclose(
        cams.get(name, model, channels=99, **options)(x, 1), everything, atol=1e-6
    )


@pytest.mark.parametrize("layer", [None, "maps"])
def test_ablationcam_equals_a_loop(tiny, x, layer):
    """The drop of the logit with one channel at zero; in closed form where the head is linear."""
    model = tiny.build(hidden=layer is not None)
    cam = cams.get("ablationcam", model, layer, relu=False)
    assert cam.split.is_linear == (layer is None)
    tail = keras.Model(model.get_layer("maps").output, model.output)
    a = tiny.activations(model, x)
    raw = np.zeros(a.shape[:3])
    for k in range(a.shape[-1]):
        less = a.copy()
        less[..., k] = 0
        drop = (tail(a) - tail(less)).numpy()[:, 2]
        raw += drop[:, None, None] * a[..., k]
    np.testing.assert_allclose(cam.raw_maps(x, np.int32([2, 2]))[0], raw, rtol=1e-3, atol=1e-4)
    rectified = cams.get("ablationcam", model, layer)(x, 2)
    np.testing.assert_allclose(rectified, tiny.min_max(np.maximum(raw, 0)), **CLOSE)
