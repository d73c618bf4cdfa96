import keras
import numpy as np
import pytest

from fcam_tf import cams
from fcam_tf.graphs.resize import resize

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
    np.testing.assert_allclose(cams.get("scorecam", model)(x, label), tiny.min_max(raw), **CLOSE)


def test_iscam_equals_a_loop(tiny, model, x):
    """The n-th image is the sum of i / N times the masked one; scores are added up."""
    steps = np.cumsum(np.arange(1, 5) / 4)
    raw = brute_force(model, x, 1, [(factor, 0.0) for factor in steps])
    cam = cams.get("iscam", model, intervals=4)
    np.testing.assert_allclose(cam(x, 1), tiny.min_max(raw), **CLOSE)


def test_sscam_equals_a_loop(tiny, model, x):
    """Each noise has the shape of one image and is shared by all channels."""
    seeds = keras.random.SeedGenerator(7)
    noises = [2.0 * keras.random.normal((1, 8, 12, 3), seed=seeds).numpy()[0] for _ in range(3)]
    raw = brute_force(model, x, 1, [(1.0, noise) for noise in noises])
    cam = cams.get("sscam", model, samples=3, seed=7)
    np.testing.assert_allclose(cam(x, 1), tiny.min_max(raw), **CLOSE)


def test_the_methods_differ(model, x):
    maps = [cams.get(n, model)(x, 1).numpy() for n in ("scorecam", "iscam")]
    maps.append(cams.get("sscam", model, seed=0)(x, 1).numpy())
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(maps[i] - maps[j]).max() > 1e-3


def test_defaults_are_the_tables(model):
    assert cams.get("sscam", model).samples == 35
    assert cams.get("sscam", model).std == 2.0
    assert cams.get("iscam", model).intervals == 10
    assert cams.get("scorecam", model).batch_size == 32


@pytest.mark.parametrize("name", ["scorecam", "sscam", "iscam"])
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
    cam = cams.get("scorecam", model)
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
