import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image


def photo(width=90, height=60, form="JPEG", seed=0):
    """Return the file of a photo of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype("uint8")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


@pytest.fixture(scope="session")
def served(exported):
    """Return what is served of it."""
    from fcam_tf.serving.served import of_saved_model  # noqa: PLC0415 - TensorFlow

    return of_saved_model(exported)


@pytest.fixture
def fake():
    """Return a model whose only signature gives the mean of each row."""
    import tensorflow as tf  # noqa: PLC0415

    from fcam_tf.serving.served import Served, Signature  # noqa: PLC0415

    def function(images):
        return {"mean": tf.reduce_mean(tf.cast(images, tf.float32), axis=[1, 2, 3])}

    spec = tf.TensorSpec((None, None, None, 3), tf.uint8, "images")
    outputs = {"mean": SimpleNamespace(dtype=tf.float32, shape=(None,))}
    return Served({"serve_uint8": Signature("images", spec, outputs, function)}, (4, 4), None)
