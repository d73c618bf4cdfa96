import keras
import numpy as np
from keras import layers as L  # noqa: N812 - as in the package

from fcam_tf.cams.trial import tokens_and_gradients


def model_of(score, patch=4):
    """Return a model of 8x8 images with four tokens of patches, and the tokens."""
    images = keras.Input((8, 8, 3))
    x = L.Conv2D(5, patch, strides=patch)(images)
    x = L.Reshape((-1, 5))(x)
    return keras.Model(images, score(x)), x


def trial(score):
    model, x = model_of(score)
    return tokens_and_gradients(model, model.inputs[0], x, model.outputs, around=False)


def test_the_mean_of_tokens_has_the_same_gradient_by_each():
    kernel = np.random.default_rng(1).normal(size=(5, 3)).astype("float32")
    dense = L.Dense(3, kernel_initializer=keras.initializers.Constant(kernel))
    values, gradients = map(np.asarray, trial(lambda x: dense(L.GlobalAveragePooling1D()(x))))
    assert values.shape == gradients.shape == (2, 4, 5)
    assert np.ptp(values, axis=(0, 1)).min() > 0
    np.testing.assert_allclose(gradients, gradients[:, :1].repeat(4, 1), rtol=1e-5)
    mean = gradients.sum(1)  # of each image a row of kernel @ weights
    assert np.abs(mean).min() > 1e-3
    assert np.linalg.matrix_rank(np.concatenate([mean, kernel.T]), tol=1e-4) == 3


def test_a_token_that_no_score_takes_has_no_gradient():
    _, gradients = trial(lambda x: L.Dense(3)(x[:, 0]))
    assert (np.abs(gradients).max((0, 2)) > 0).tolist() == [True, False, False, False]


def test_windows_of_images_are_not_tried():
    images = keras.Input((8, 8, 3))
    windows = keras.ops.reshape(images, (-1, 16, 3))  # four of each image
    pooled = L.GlobalAveragePooling1D()(windows)
    scores = L.Dense(3)(keras.ops.reshape(pooled, (-1, 12)))
    model = keras.Model(images, scores)
    assert tokens_and_gradients(model, images, windows, model.outputs, around=False) is None


def test_what_leads_around_the_tokens_is_given():
    images = keras.Input((8, 8, 3))
    tokens = L.Reshape((-1, 3))(images)
    around = L.GlobalAveragePooling2D()(images)
    scores = L.Dense(2)(L.Concatenate()([L.GlobalMaxPooling1D()(tokens), around]))
    model = keras.Model(images, scores)
    values, gradients = tokens_and_gradients(model, images, tokens, model.outputs, around=True)
    assert values.shape == gradients.shape == (2, 64, 3)
    assert np.count_nonzero(gradients) == 6  # the largest of each channel
