import keras
import numpy as np
import pytest
from PIL import Image

from fcam_tf import cams
from tests.backends import output_under, under_others

X = np.random.default_rng(0).uniform(-1, 1, (2, 6, 8, 3)).astype("float32")


@pytest.mark.traced
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (3, r"`labels` must lie in \[0, 3\). Received: 3"),
        (-2, r"must lie in \[0, 3\). Received: -2.*predicted"),
        ([0, 7], "Received: 7"),
        ([0], r"2 class numbers, one for each image. Received: shape \(1,\)"),
        ([[0, 1]], r"Received: shape \(1, 2\)"),
        ([0.0, 1.0], "float64"),
        ([True, False], "bool"),
    ],
)
def test_wrong_labels(methods, labels, message):
    for call in (methods["gradcam"], methods["gradcam"].full_size, methods["scorecam"]):
        with pytest.raises(ValueError, match=message):
            call(X, labels)


@pytest.mark.traced
@pytest.mark.parametrize("x", [X[0], X[..., :2], X[..., None]], ids=["one", "channels", "rank"])
def test_wrong_images(methods, x):
    for call in (methods["gradcam"], methods["gradcam"].full_size):
        with pytest.raises(ValueError, match=r"`images` must have shape \(batch, None, None, 3\)"):
            call(x)


def test_fixed_image_size(tiny):
    cam = cams.get("cam", tiny.build(size=(6, 8)))
    assert cam(X).shape == (2, 6, 8)
    with pytest.raises(ValueError, match=r"images of 6x8 pixels\. Received: shape \(2, 4, 4, 3\)"):
        cam(tiny.images(height=4, width=4))


def test_channels_first_is_refused(model):
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="channels_last"):
            cams.get("cam", model)
    finally:
        keras.config.set_image_data_format("channels_last")


def test_get(tiny):
    with pytest.raises(ValueError, match=r"'gradcan'.*mean 'gradcam'.*layercam"):
        cams.get("gradcan", tiny.build())
    nine = "cam gradcam gradcampp iscam layercam scorecam smoothgradcampp sscam xgradcam"
    more = "ablationcam eigencam eigengradcam fullgrad gradcamelementwise hirescam"
    assert sorted(cams.METHODS) == sorted([*nine.split(), *more.split()])


@pytest.mark.parametrize("name", [n for n in cams.METHODS if n != "layercam"])
def test_only_layercam_fuses(tiny, name):
    with pytest.raises(ValueError, match=f"'{name}' does not fuse several"):
        cams.get(name, tiny.build(hidden=True), ["maps", "hidden"])


@pytest.mark.traced
def test_one_layer_in_a_list(model, methods):
    listed = cams.get("gradcam", model, ["maps"])(X)
    np.testing.assert_allclose(listed, methods["gradcam"](X), atol=1e-6)


@pytest.mark.traced
@pytest.mark.parametrize("name", ["gradcam", "scorecam"])
def test_minus_one_is_the_predicted_class(methods, name):
    maps, logits = methods[name].maps_and_logits(X)
    np.testing.assert_array_equal(methods[name](X, -1), maps)
    one = int(np.argmin(logits[1]))
    mixed = methods[name](X, [[-1], [one]])
    np.testing.assert_array_equal(mixed[0], maps[0])
    np.testing.assert_array_equal(mixed[1], methods[name](X, one)[1])


@pytest.mark.traced
@pytest.mark.parametrize("name", cams.METHODS)
def test_no_images(methods, name):
    with pytest.raises(ValueError, match=r"`images` is empty.*\(0, 6, 8, 3\)"):
        methods[name](X[:0])


@pytest.mark.traced
@pytest.mark.parametrize(
    "images", [None, Image.new("RGB", (8, 6)), [Image.new("RGB", (8, 6))], [X[0], X[0, :2]]]
)
def test_what_is_no_array_of_pixels(methods, images):
    with pytest.raises(ValueError, match=r"`images` must be an array of pixels. Received: "):
        methods["cam"](images)


PICTURES = """
from PIL import Image
from fcam_tf import cams
from tests.backends import output_under, under_others
from tests.models.tiny import tiny_classifier
cam = cams.get("cam", tiny_classifier())
picture = Image.new("RGB", (32, 32))
for images in (picture, [picture, picture], None):
    try:
        cam(images)
    except ValueError as error:
        print(error)
"""


@pytest.mark.slow
@under_others
def test_pictures_are_no_array_of_pixels_under_other_backends(backend):
    lines = output_under(backend, PICTURES).splitlines()
    assert [line.partition(" Received")[0] for line in lines] == [
        "`images` must be an array of pixels."
    ] * 3
