import numpy as np
import pytest

from fcam_tf import cams

L_OTHER_HEAD = r"`cam` needs a model that ends in global average pooling and one dense layer"


def test_equals_numpy(tiny):
    model = tiny.build()
    x = tiny.images()
    kernel, _ = tiny.head(model)
    for label in range(tiny.classes):
        raw = tiny.activations(model, x) @ kernel[:, label]
        np.testing.assert_allclose(
            cams.get("cam", model)(x, label), tiny.min_max(raw), rtol=1e-4, atol=1e-5
        )


def test_by_hand(tiny):
    """One pixel of each class; no ReLU, so that evidence against a class stays the minimum."""
    model = tiny.build()
    model.get_layer("maps").set_weights([np.eye(3, 5, dtype="float32")[None, None], np.zeros(5)])
    kernel = np.zeros((5, 3))
    kernel[:3, 1] = [1.0, -1.0, 0.5]
    model.get_layer("scores").set_weights([kernel, np.ones(3)])
    x = np.zeros((1, 1, 4, 3), "float32")
    x[0, 0, :3] = np.eye(3)  # maps: 1, -1, 0.5, 0
    np.testing.assert_allclose(cams.get("cam", model)(x, 1)[0], [[1, 0, 0.75, 0.5]], atol=1e-6)


def test_raw_maps_and_logits(tiny):
    model = tiny.build()
    x = tiny.images()
    maps, logits = cams.get("cam", model).raw_maps(x, np.array([0, 2], "int32"))
    kernel, _ = tiny.head(model)
    weights = kernel[:, [0, 2]].T[:, None, None, :]
    expected = (weights * tiny.activations(model, x)).sum(-1) / 48  # cells
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(logits, tiny.logits(model, x), rtol=1e-4, atol=1e-5)


def test_needs_a_linear_head(tiny):
    with pytest.raises(ValueError, match=L_OTHER_HEAD):
        cams.get("cam", tiny.build(hidden=True), "maps")
