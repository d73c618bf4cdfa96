import keras
import numpy as np
import pytest

from fcam_tf import cams

L = keras.layers


def colours(activation=None, *, hidden=False):
    """Red, green and blue are the classes; each 4 x 4 pixels are a cell."""
    images = keras.Input((8, 12, 3))
    x = L.AveragePooling2D(4)(images)
    x = L.Conv2D(3, 1, use_bias=False, activation="relu", name="colours")(x)
    x = L.GlobalAveragePooling2D()(x)
    if hidden:
        x = L.Dense(3, activation="tanh", use_bias=False, name="hidden")(x)
    model = keras.Model(images, L.Dense(3, activation=activation, use_bias=False, name="head")(x))
    model.get_layer("colours").set_weights([np.eye(3)[None, None] / 255])
    for name, scale in (("hidden", 1), ("head", 6)):
        if hidden or name == "head":
            model.get_layer(name).set_weights([scale * np.eye(3)])
    return model


@pytest.fixture
def images():
    """Of 2 x 3 cells one is red, one blue, one both (a fifth and three fifths), the rest black."""
    images = np.zeros((2, 8, 12, 3), "float32")
    images[:, :4, :4, 0] = images[:, :4, 4:8, 2] = 255
    images[:, :4, 8:, 0], images[:, :4, 8:, 2] = 51, 153
    images[1] = images[1, ::-1]
    return images


@pytest.mark.parametrize("activation", [None, "softmax", "sigmoid"])
def test_by_hand(images, activation):
    # Logits are 6 / 6 of the sums: red 1.2, green 0, blue 1.6.
    logits = np.array([1.2, 0, 1.6])
    p = 1 / (1 + np.exp(-logits)) if activation == "sigmoid" else np.exp(logits)
    red, blue = (p[[1, 2]] / p[[1, 2]].sum())[1], (p[[0, 1]] / p[[0, 1]].sum())[0]
    # Red against the others, of which blue has that part; blue against them in the same way.
    shares = cams.ClassShare(colours(activation))(images, [0, 0, 1, 0], np.array([0, 2, 2, 1]))
    assert shares.shape == (4, 2, 3)
    assert shares.dtype == np.float32
    assert 0.6 * red > 0.2
    np.testing.assert_allclose(shares[0], [[1, 0, 0.2 / (0.6 * red)], [0, 0, 0]], rtol=1e-5)
    assert 0.2 * blue < 0.6
    np.testing.assert_allclose(shares[1], [[0, 1, 1], [0, 0, 0]], rtol=1e-5)
    np.testing.assert_allclose(shares[2], [[0, 0, 0], [0, 1, 1]], rtol=1e-5)
    assert not shares[3].any()  # nothing is green


def test_the_predicted_class(images):
    share = cams.ClassShare(colours())
    found = share(images, [1, 0, 1], np.array([-1, -1, 0]))
    np.testing.assert_array_equal(found, share(images, [1, 0, 1], np.array([2, 2, 0])))


def test_another_head_is_differentiated_against_the_most_probable_other(images):
    model = colours(hidden=True)
    rows, labels = [0, 1, 1], np.array([0, 2, 1], "int32")
    cam = cams.get("gradcam", model)
    maps = {k: np.asarray(cam.raw_maps(images, np.full(2, k, "int32"))[0]) for k in range(3)}
    found = cams.ClassShare(model)(images, rows, labels)
    for each, row, own, other in zip(found, rows, labels, (2, 0, 2), strict=True):
        a, b = maps[int(own)][row], maps[other][row]
        want = np.where(a > 0, a / np.maximum(np.maximum(a, b), 1e-6), 0)
        np.testing.assert_allclose(each, want, atol=1e-5)
    assert 0 < found[0, 0, 2] < 1


def test_what_does_not_fit(images):
    with pytest.raises(ValueError, match="`images` must have shape"):
        cams.ClassShare(colours())(images[:, :4], [0], np.array([0]))
