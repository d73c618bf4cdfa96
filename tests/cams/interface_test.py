import functools

import keras
import numpy as np
import pytest

from fcam_tf import cams
from fcam_tf.explain import Explainer
from fcam_tf.predict import Localizer
from tests.cams.networks import SQUARE, plain, pooled, trunk, two_inputs, two_outputs

L = keras.layers


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return two_inputs()


def inputs():
    draw = np.random.default_rng(0)
    return draw.uniform(0, 255, (2, *SQUARE)), draw.normal(size=(2, 4))


@pytest.mark.parametrize("method", cams.METHODS)
def test_every_method_takes_other_inputs(model, method):
    if method in ("cam", "fullgrad"):
        with pytest.raises(ValueError, match="needs a model"):  # of another head, of images alone
            cams.get(method, model)
        return
    options = {"seed": 0} if method in ("sscam", "smoothgradcampp") else {}
    options |= {"samples": 2} if method == "sscam" else {}
    get = functools.partial(cams.get, method, model, relu=False)  # nothing may speak for a class
    images, meta = inputs()
    cam = get(**options)
    maps, logits = cam.maps_and_logits([images, meta], 0)
    np.testing.assert_allclose(logits, model.predict([images, meta], verbose=0), atol=1e-4)
    assert np.ptp(maps) > 0.5
    # An image is explained with its own numbers, not with its neighbour's.
    cam = get(**options)
    if not options:
        one = cam([images[1:], meta[1:]], 0)
        np.testing.assert_allclose(one, maps[1:], atol=1e-3)
    by_name = cam({"photo": images, "meta": meta}, 0)
    assert by_name.shape == maps.shape


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda x, _: x, r"`images` must hold all inputs.*photo, meta. Received: ndarray"),
        (lambda x, _: {"photo": x}, r"photo, meta. Received: \['photo'\]"),
        (lambda x, y: [y, x], r"`images` must have shape \(batch, 16, 16, 3\)"),
    ],
)
def test_inputs_that_are_missing(model, given, message):
    with pytest.raises(ValueError, match=message):
        cams.get("gradcam", model)(given(*inputs()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"image_input": "foto"},
            "`image_input` must name an input.*'foto'. Available: photo, meta",
        ),
        ({"output": "x"}, "`output` must name one.*'x'. Available: dense"),
        ({"output": 1}, "`output` must name one"),
        ({"grid": 7}, r"`grid` must be \(height, width\). Received: 7"),
        ({"grid": (7, 0)}, "`grid` must be 1 or more"),
        ({"score": lambda y: y}, r"`score` must return one number for each image.*\(2, 3\)"),
    ],
)
def test_options(model, options, message):
    with pytest.raises(ValueError, match=message):
        cams.get("gradcam", model, **options)([*inputs()])


def test_a_score_is_a_function(model):
    with pytest.raises(TypeError, match=r"`score` must be a function.*'cat'"):
        cams.get("gradcam", model, score="cat")


def test_a_score_is_one_class():
    model = plain(two_outputs)
    cam = cams.get("scorecam", model, score=lambda y: y[0][:, 0] - y[1][:, 1])
    images, _ = inputs()
    _, logits = cam.maps_and_logits(images, 0)
    species, age = model.predict(images, verbose=0)
    np.testing.assert_allclose(logits[:, 0], species[:, 0] - age[:, 1], atol=1e-3)
    with pytest.raises(ValueError, match=r"`labels` must lie in \[0, 1\)"):
        cam(images, 1)


def test_an_explainer_takes_them():
    explainer = Explainer(plain(two_outputs), "gradcam", output="age")
    assert (explainer.num_classes, explainer.image_size) == (2, SQUARE[:2])
    maps, logits = explainer.maps_and_logits(inputs()[0], None)
    assert (maps.shape, logits.shape) == ((2, 8, 8), (2, 2))


def test_photos_alone_do_not_localise(model):
    with pytest.raises(ValueError, match=r"must take images alone.*photo, meta"):
        Localizer(model)


def test_a_map_behind_a_scaled_copy_of_the_image_keeps_its_place():
    images, extra = keras.Input(SQUARE, name="photo"), keras.Input((2,), name="extra")
    both = L.Concatenate()([pooled(trunk(L.Rescaling(1 / 255)(images))), extra])
    model = keras.Model([extra, images], L.Dense(2)(both))  # the photo comes second
    photos, _ = inputs()
    cam = cams.get("layercam", model)
    assert cam.split.layers == ("top",)
    maps, logits = cam.maps_and_logits([np.ones((2, 2)), photos])
    np.testing.assert_allclose(
        logits, model.predict([np.ones((2, 2)), photos], verbose=0), atol=1e-4
    )
    assert maps.shape == (2, 8, 8)
