import keras
import pytest
from keras import layers as L  # noqa: N812 - as in the package

from fcam_tf.cams.moving import moving_layers
from fcam_tf.graphs import graph

conv = L.Conv2D


class Below(L.Layer):
    """A layer of someone's own that keeps the lower part."""

    def call(self, x):
        return x[:, 8:]


class Standardised(L.Layer):
    def call(self, x):
        mean, variance = keras.ops.moments(x, (1, 2, 3), keepdims=True)
        return (x - mean) / keras.ops.sqrt(variance)


def named(before, size=(32, 32, 3), first=None):
    images = keras.Input(size)
    x = (first or conv(4, 3))(before(images))
    model = keras.Model(images, L.GlobalAveragePooling2D()(x))
    return moving_layers(model, graph.makers(graph.steps(model)), images, x)


@pytest.mark.parametrize(
    ("before", "name"),
    [
        (L.CenterCrop(28, 28, name="a"), "a"),
        (L.Cropping2D(((16, 0), (0, 0)), name="a"), "a"),
        (L.ZeroPadding2D(((0, 16), (0, 0)), name="a"), "a"),
        (L.Permute((2, 1, 3), name="a"), "a"),
        (L.Reshape((16, 64, 3), name="a"), "a"),
        (lambda x: x[:, 8:24, 8:24], "get_item"),
        (lambda x: keras.ops.flip(x, 1), "flip"),
        (L.Lambda(lambda x: x[:, ::-1], name="a"), "a"),
        (L.Lambda(lambda x: x[:, 4:-4, 4:-4], name="a"), "a"),
        (Below(name="a"), "a"),
    ],
)
def test_what_moves_the_image_is_named(before, name):
    (found,) = named(lambda x: L.Rescaling(1 / 255)(before(L.Rescaling(2)(x))))
    assert found.startswith(name)


@pytest.mark.parametrize(
    "before",
    [
        L.Resizing(48, 48),
        L.ZeroPadding2D(1),  # as before convolutions of stride 2
        L.UpSampling2D(2),
        lambda x: x[..., ::-1] - 128,  # from RGB to BGR
        lambda x: 255 - x,
        lambda x: keras.ops.flip(keras.ops.flip(x, 1), 1),
        lambda x: L.Permute((2, 3, 1))(L.Permute((3, 1, 2))(x)),
        L.RandomFlip(),
        L.Lambda(lambda x: x / 127.5 - 1),
        L.Lambda(lambda x: keras.ops.clip(x, 0.2, 0.8)),
        Standardised(),
        L.Lambda(lambda x: keras.ops.average_pool(x, 4)),  # 8 x 8 cells
        lambda x: L.CenterCrop(8, 8)(conv(3, 3, strides=2)(x)),  # no longer the image
    ],
)
def test_what_leaves_it_in_its_place_is_not(before):
    assert named(before) == []


def test_a_pad_that_the_first_convolution_trims_again_counts_not():
    pad = L.ZeroPadding2D(3)  # of ResNet50, whose input may be as small
    assert named(pad, first=conv(4, 7, strides=2)) == []
    assert named(pad, first=conv(4, 7, strides=2, padding="same")) != []
    assert named(pad, first=conv(4, 3)) != []
    assert named(lambda x: L.Cropping2D(((0, 8), (0, 0)))(pad(x)), first=conv(4, 7)) != []
    assert named(lambda x: pad(L.Cropping2D(((0, 8), (0, 0)))(x)), first=conv(4, 7)) != []


def test_images_of_any_size():
    assert named(L.Cropping2D(40), (None, None, 1)) != []
    assert named(L.Cropping2D(2), (None, None, 1)) == []
    assert named(L.CenterCrop(224, 224), (None, None, 3)) != []
    assert named(L.Resizing(24, 48, crop_to_aspect_ratio=True), (None, None, 3)) != []


def test_a_crop_beside_the_map_counts_not():
    images = keras.Input((32, 32, 3))
    x = conv(4, 3)(images)
    beside = L.GlobalAveragePooling2D()(conv(4, 3)(L.CenterCrop(8, 8)(images)))
    model = keras.Model(images, L.Concatenate()([L.GlobalAveragePooling2D()(x), beside]))
    assert moving_layers(model, graph.makers(graph.steps(model)), images, x) == []
