import keras
import numpy as np
import pytest

from fcam_tf import cams
from fcam_tf.graphs.resize import resize

L = keras.layers
CLOSE = {"rtol": 1e-3, "atol": 1e-4}


@pytest.fixture(scope="module")
def pyramid():
    """Three maps, each half the size of the one before, under a linear head."""
    rng = np.random.default_rng(2)
    inputs = keras.Input((None, None, 3))
    x = inputs
    for i in range(3):
        x = L.Conv2D(4, 3, strides=1 + (i > 0), padding="same", activation="relu", name=f"m{i}")(x)
    model = keras.Model(inputs, L.Dense(3, name="scores")(L.GlobalAveragePooling2D()(x)))
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


class TestFusion:
    LAYERS = ("m0", "m1", "m2")

    @pytest.mark.parametrize("layers", [LAYERS, ("m1", "m2"), ("m0", "m2")])
    def test_equals_numpy(self, tiny, pyramid, layers):
        x = tiny.images(2, 12, 16)
        fused = 0.0
        finest = None
        for layer in layers:
            maps = cams.get("layercam", pyramid, layer)(x, 1).numpy()  # stretched to [0, 1]
            finest = finest or maps.shape[1:]
            large = resize(np.tanh(2 * maps)[..., None], finest).numpy()[..., 0]
            fused = np.maximum(fused, large)
        np.testing.assert_allclose(
            cams.get("layercam", pyramid, layers)(x, 1), tiny.min_max(fused), **CLOSE
        )

    def test_order_does_not_matter(self, tiny, pyramid):
        x = tiny.images(2, 12, 16)
        maps = [cams.get("layercam", pyramid, layers)(x) for layers in (["m0", "m2"], ["m2", "m0"])]
        np.testing.assert_array_equal(maps[0], maps[1])
        assert maps[0].shape == (2, 12, 16)

    def test_same_layer_twice(self, tiny, pyramid):
        x = tiny.images(2, 12, 16)
        once = cams.get("layercam", pyramid, "m1")(x, 1)
        np.testing.assert_array_equal(cams.get("layercam", pyramid, ["m1", "m1"])(x, 1), once)

    def test_layers_beside_each_other(self, tiny):
        """Two branches: neither map leads to the logits alone."""
        inputs = keras.Input((None, None, 3))
        one = L.Conv2D(4, 1, activation="relu", name="one")(inputs)
        two = L.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="two")(inputs)
        pooled = [L.GlobalAveragePooling2D()(v) for v in (one, two)]
        model = keras.Model(inputs, L.Dense(3)(L.Concatenate()(pooled)))
        x = tiny.images()
        fused = cams.get("layercam", model, ["two", "one"])(x, 0).numpy()
        single = [cams.get("layercam", model, name)(x, 0).numpy() for name in ("one", "two")]
        large = resize(np.tanh(2 * single[1])[..., None], (6, 8)).numpy()[..., 0]
        raw = np.maximum(np.tanh(2 * single[0]), large)
        np.testing.assert_allclose(fused, tiny.min_max(raw), **CLOSE)
