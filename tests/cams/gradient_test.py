import keras
import numpy as np
import pytest

from fcam_tf import cams

L = keras.layers
CLOSE = {"rtol": 1e-3, "atol": 1e-4}


# From the facts: w is the head's row, g = w / cells, A the maps of one image, (h, w, C).
def gradcam(w, a):
    return a @ w


def gradcampp_tables(w, a):
    return a @ np.maximum(w, 0) ** 3


def gradcampp_published(w, a):
    g = w / a[..., 0].size
    squares, cubes = g**2, g**3
    alpha = squares / (2 * squares + cubes * a.sum((0, 1)))
    return a @ (a[..., 0].size * alpha * np.maximum(g, 0))


def xgradcam(w, a):
    g = w / a[..., 0].size
    total = a.sum((0, 1))
    return a @ np.where(total > 0, (g * a).sum((0, 1)) / np.where(total > 0, total, 1), 0)


def layercam(w, a):
    return a @ np.maximum(w, 0)


def hirescam(w, a):
    return (a * (w / a[..., 0].size)).sum(-1)


CASES = {
    "gradcam": ("gradcam", {}, gradcam),
    "gradcam++, tables": ("gradcampp", {}, gradcampp_tables),
    "gradcam++, published": ("gradcampp", {"formula": "published"}, gradcampp_published),
    "smooth without noise": ("smoothgradcampp", {"noise_level": 0.0}, gradcampp_published),
    "xgradcam": ("xgradcam", {}, xgradcam),
    "layercam": ("layercam", {}, layercam),
    "hirescam": ("hirescam", {}, hirescam),
    "element-wise": ("gradcamelementwise", {}, layercam),  # A is never negative
}
each = pytest.mark.parametrize(("name", "options", "formula"), CASES.values(), ids=CASES)


def expected(tiny, model, x, label, formula):
    kernel, _ = tiny.head(model)
    maps = [formula(kernel[:, label], a) for a in tiny.activations(model, x)]
    return tiny.min_max(np.maximum(maps, 0))


@each
@pytest.mark.parametrize("closed", [True, False])
def test_equals_numpy(tiny, model, x, name, options, formula, closed):
    cam = cams.get(name, model, **options)
    assert cam.split.is_linear
    if not closed:
        cam.split.is_linear = False
    for label in range(3):
        found = cam(x, label)
        np.testing.assert_allclose(found, expected(tiny, model, x, label, formula), **CLOSE)


def test_the_formulas_differ(tiny, model, x):
    maps = [expected(tiny, model, x, 1, case[2]) for case in CASES.values()]
    for i, j in ((0, 1), (0, 2), (1, 2), (1, 5), (2, 5)):
        assert np.abs(maps[i] - maps[j]).max() > 1e-2


@each
def test_by_hand(tiny, name, options, formula):
    """One pixel for each of three channels with the weights 2, 1 and -1."""
    del formula
    model = tiny.build()
    model.get_layer("maps").set_weights([np.eye(3, 5, dtype="float32")[None, None], np.zeros(5)])
    kernel = np.zeros((5, 3))
    kernel[:3, 0] = [2, 1, -1]
    model.get_layer("scores").set_weights([kernel, np.zeros(3)])
    x = np.zeros((1, 2, 2, 3), "float32")
    x[0, 0, 0, 0] = x[0, 0, 1, 1] = x[0, 1, 0, 2] = 1
    second = 0.5  # of the first
    if options.get("formula") == "published" or name == "smoothgradcampp":
        second = (1 / 4) / (2 + 1 / 4) / ((2 / 4) / (2 + 2 / 4))  # g / (2 + g sum(A))
    elif name == "gradcampp":
        second = 1 / 8  # cubes
    np.testing.assert_allclose(
        cams.get(name, model, **options)(x, 0)[0], [[1, second], [0, 0]], atol=1e-6
    )


def mean(v):
    return v.mean((1, 2), keepdims=True)


GENERAL = {
    "gradcam": ({}, lambda _, g: mean(g)),
    "gradcampp": ({}, lambda _, g: mean(g**2 * np.maximum(g, 0))),
    "gradcampp published": (
        {"formula": "published"},
        lambda a, g: mean(
            g**2 / (2 * g**2 + g**3 * a.sum((1, 2), keepdims=True)) * np.maximum(g, 0)
        ),
    ),
    "smoothgradcampp": (
        {"noise_level": 0.0},
        lambda a, g: mean(
            g**2 / (2 * g**2 + g**3 * a.sum((1, 2), keepdims=True)) * np.maximum(g, 0)
        ),
    ),
    "xgradcam": (
        {},
        lambda a, g: (g * a).sum((1, 2), keepdims=True) / a.sum((1, 2), keepdims=True),
    ),
    "layercam": ({}, lambda _, g: np.maximum(g, 0)),
    "hirescam": ({}, lambda _, g: g),
    "gradcamelementwise": ({}, lambda _, g: np.maximum(g, 0)),
}


@pytest.mark.parametrize("case", GENERAL)
def test_gradients_that_vary_over_the_map(tiny, x, case):
    options, weights = GENERAL[case]
    model = tiny.build(hidden=True)
    cam = cams.get(case.split()[0], model, "maps", **options)
    assert not cam.split.is_linear
    for label in (0, 2):
        a, g = tiny.gradients(model, x, label)
        raw = np.maximum(np.nansum(weights(a, g) * a, axis=-1), 0)
        np.testing.assert_allclose(cam(x, label), tiny.min_max(raw), **CLOSE)


def test_xgradcam_leaves_out_dead_channels(tiny, x):
    model = tiny.build()
    kernel, bias = model.get_layer("maps").get_weights()
    bias[2] = -100
    model.get_layer("maps").set_weights([kernel, bias])
    for closed in (True, False):
        one, other = cams.get("xgradcam", model), cams.get("gradcam", model)
        if not closed:
            one.split.is_linear = other.split.is_linear = False
        np.testing.assert_allclose(one(x, 1), other(x, 1), **CLOSE)


def test_tables_formula_survives_tiny_gradients(tiny, x):
    model = tiny.build()
    before = cams.get("gradcampp", model)(x, 1).numpy()
    kernel, bias = model.get_layer("scores").get_weights()
    model.get_layer("scores").set_weights([kernel * 1e-16, bias])  # cubes would be 0
    np.testing.assert_allclose(cams.get("gradcampp", model)(x, 1), before, **CLOSE)


def test_negative_activations_keep_published_weights_finite(tiny):
    """2 + g sum(A) is exactly 0 for a channel with g < 0, which weighs nothing."""
    model = tiny.build(hidden=True)  # tanh maps
    weights = cams.get("gradcampp", model, formula="published").weights(
        np.float32([[[[4.0, 1.0]]]]), np.float32([[[[-0.5, 1.0]]]])
    )
    np.testing.assert_allclose(weights, [[[[0, 1 / 3]]]], rtol=1e-6)


def test_unknown_formula(model):
    with pytest.raises(ValueError, match=r"`formula` must be 'tables' or 'published'.*'torch'"):
        cams.get("gradcampp", model, formula="torch")


def test_cam_equals_numpy(tiny):
    model = tiny.build()
    x = tiny.images()
    kernel, _ = tiny.head(model)
    for label in range(tiny.classes):
        raw = tiny.activations(model, x) @ kernel[:, label]
        np.testing.assert_allclose(
            cams.get("cam", model)(x, label), tiny.min_max(raw), rtol=1e-4, atol=1e-5
        )


def test_cam_by_hand(tiny):
    """One pixel of each class; no ReLU, so that evidence against a class stays the minimum."""
    model = tiny.build()
    model.get_layer("maps").set_weights([np.eye(3, 5, dtype="float32")[None, None], np.zeros(5)])
    kernel = np.zeros((5, 3))
    kernel[:3, 1] = [1.0, -1.0, 0.5]
    model.get_layer("scores").set_weights([kernel, np.ones(3)])
    x = np.zeros((1, 1, 4, 3), "float32")
    x[0, 0, :3] = np.eye(3)  # maps: 1, -1, 0.5, 0
    np.testing.assert_allclose(cams.get("cam", model)(x, 1)[0], [[1, 0, 0.75, 0.5]], atol=1e-6)


def test_cam_raw_maps_and_logits(tiny):
    model = tiny.build()
    x = tiny.images()
    maps, logits = cams.get("cam", model).raw_maps(x, np.array([0, 2], "int32"))
    kernel, _ = tiny.head(model)
    weights = kernel[:, [0, 2]].T[:, None, None, :]
    expected = (weights * tiny.activations(model, x)).sum(-1) / 48  # cells
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(logits, tiny.logits(model, x), rtol=1e-4, atol=1e-5)


def test_cam_needs_a_linear_head(tiny):
    with pytest.raises(
        ValueError,
        match=r"`cam` needs a model that ends in global average pooling and one dense layer",
    ):
        cams.get("cam", tiny.build(hidden=True), "maps")


@pytest.mark.parametrize("name", ["cam", "gradcam", "layercam"])
def test_features_and_logits_that_are_there_are_enough(tiny, name):
    model = tiny.build()
    x, cam = tiny.images(), cams.get(name, tiny.build())
    features, labels = tiny.activations(model, x), np.array([-1, 0], "int32")
    assert cam.needs_only_features
    found = cam.from_features(features, labels, np.float32([[0, 0, 1], [9, 0, 0]]))
    np.testing.assert_allclose(found, cam(x, [2, 0]), atol=1e-5)
    with pytest.raises(NotImplementedError, match="'scorecam' needs more"):
        cams.get("scorecam", model).from_features(features, labels, None)


@pytest.mark.parametrize("name", ["gradcam", "gradcampp", "xgradcam", "layercam", "hirescam"])
def test_without_relu_what_speaks_against_the_class_is_kept(tiny, x, name):
    model = tiny.build()
    a, (kernel, _) = tiny.activations(model, x), tiny.head(model)
    weights = {
        "gradcampp": np.maximum(kernel[:, 1], 0) ** 3,
        "layercam": np.maximum(kernel, 0)[:, 1],
    }
    raw = a @ weights.get(name, kernel[:, 1])
    kept = cams.get(name, model, relu=False)
    np.testing.assert_allclose(kept(x, 1), tiny.min_max(raw), **CLOSE)
    negative = name not in weights
    assert (np.min(kept.raw_maps(x, np.int32([1, 1]))[0]) < 0) == negative


def test_hirescam_without_relu_adds_up_to_the_logit(tiny, x):
    model = tiny.build()
    maps, logits = cams.get("hirescam", model, relu=False).raw_maps(x, np.int32([0, 2]))
    _, bias = tiny.head(model)
    explained = np.asarray(logits)[[0, 1], [0, 2]] - bias[[0, 2]]
    np.testing.assert_allclose(np.sum(maps, (1, 2)), explained, rtol=1e-4)
