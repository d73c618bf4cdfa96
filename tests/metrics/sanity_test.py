import keras
import numpy as np
import pytest
from scipy.stats import spearmanr

from fcam_tf import metrics
from fcam_tf.metrics.sanity import rank_correlation, ssim


def red(images, labels):
    del labels
    return np.asarray(images)[..., 0] / 255


def test_sensitivity_equals_plain_loops():
    images = np.random.default_rng(0).uniform(0, 255, (2, 4, 5, 3)).astype(np.float32)
    got = metrics.maximal_sensitivity(red, images, [0, 1], samples=6, radius=20, seeds=[8, 9])
    for i, seed in enumerate([8, 9]):
        rng, changes = np.random.default_rng(seed), []
        first = images[i, ..., 0] / 255
        for _ in range(6):
            moved = np.clip(images[i] + rng.uniform(-20, 20, images[i].shape), 0, 255)
            changes.append(np.sqrt(((moved[..., 0] / 255 - first) ** 2).sum()))
        assert got[i] == pytest.approx(max(changes) / np.sqrt((first**2).sum()), rel=1e-5)
    # An image's figure does not depend on those beside it.
    alone = metrics.maximal_sensitivity(red, images[1:], [1], samples=6, radius=20, seeds=[9])
    assert alone[0] == got[1]


def test_a_map_that_looks_at_nothing_is_not_sensitive():
    images = np.zeros((2, 3, 3, 1))
    for make_maps in (lambda x, _: np.zeros((len(x), 3, 3)), lambda x, _: np.ones((len(x), 3, 3))):
        assert metrics.maximal_sensitivity(make_maps, images, 0).tolist() == [0, 0]
    with pytest.raises(ValueError, match=r"map for each image, \(2, h, w\).*shape \(2,\)"):
        metrics.maximal_sensitivity(lambda x, _: x[:, 0, 0, 0], images, 0)


def two_layers():
    images = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="first")(images)
    nested = keras.Sequential([keras.layers.Conv2D(4, 3, padding="same", name="second")])
    x = keras.layers.GlobalAveragePooling2D()(nested(x))
    return keras.Model(images, keras.layers.Dense(3, name="head")(x))


def test_stages_go_from_the_head_to_the_first_layer():
    model = two_layers()
    stages = dict(metrics.stages_from_head(model, 8))
    assert list(stages) == ["head", "second", "first"]
    few = dict(metrics.stages_from_head(model, 2))
    assert list(few) == ["head", "first"]
    for found in (stages, few):
        listed = sorted(id(weight) for weights in found.values() for weight in weights)
        assert listed == sorted(id(weight) for weight in model.weights)


def test_randomisation_tells_a_map_of_the_model_from_one_of_the_image():
    model = two_layers()
    before = [np.array(weight, np.float64) for weight in model.weights]
    stages = [weights for _, weights in metrics.stages_from_head(model, 8)]
    images = np.random.default_rng(0).uniform(0, 1, (2, 8, 8, 3)).astype(np.float32)
    seen = []

    def kernel(x, _):
        seen.append([np.array(weight) for weight in model.weights])
        values = np.array(model.get_layer("head").kernel, np.float64)
        return np.stack([(values - values.min()) / np.ptp(values)] * len(x))

    ranks, ssims = metrics.randomisation(kernel, images, [0, 1], stages, seed=1)
    assert ranks.shape == ssims.shape == (3, 2)
    moved = np.random.default_rng(1).permutation(before[4].ravel()).reshape(before[4].shape)
    np.testing.assert_allclose(ranks[0], spearmanr(moved.ravel(), before[4].ravel())[0])
    np.testing.assert_allclose(
        ssims[0], ssim(*((v - v.min()) / np.ptp(v) for v in (moved, before[4])))
    )
    # Cascading: the head alone, then the layer below as well.
    changed = [[(a != b).any() for a, b in zip(now, before, strict=True)] for now in seen]
    kernels = [[stage[4], stage[2], stage[0]] for stage in changed]
    assert kernels == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]]
    same = metrics.randomisation(red, images, [0, 1], stages)
    assert (np.stack(same) == 1).all()
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(np.array(weight), value)


def test_weights_are_put_back_after_an_error():
    model = two_layers()
    before, calls = [np.array(weight) for weight in model.weights], []

    def failing(x, _):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return red(x, _)

    stages = [weights for _, weights in metrics.stages_from_head(model, 8)]
    with pytest.raises(KeyboardInterrupt):
        metrics.randomisation(failing, np.ones((1, 8, 8, 3)), [0], stages)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(np.array(weight), value)


def slow_ssim(a, b, side=7):
    """Wang et al. (2004), equation 13, window by window, weights equal."""
    c1, c2, found = 0.01**2, 0.03**2, []
    for y in range(a.shape[0] - side + 1):
        for x in range(a.shape[1] - side + 1):
            p, q = a[y : y + side, x : x + side], b[y : y + side, x : x + side]
            shared = ((p - p.mean()) * (q - q.mean())).mean()
            found.append(
                (2 * p.mean() * q.mean() + c1)
                * (2 * shared + c2)
                / ((p.mean() ** 2 + q.mean() ** 2 + c1) * (p.var() + q.var() + c2))
            )
    return np.mean(found)


def test_likeness():
    rng = np.random.default_rng(5)
    a, b = rng.random((9, 10)), rng.random((9, 10)).round(1)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a.ravel(), b.ravel())[0])
    assert rank_correlation(a, a**3) == pytest.approx(1)
    assert rank_correlation(a, np.ones_like(a)) == 0
    assert ssim(a, b) == pytest.approx(slow_ssim(a, b))
    assert ssim(a, a) == 1
    assert ssim(a[:1, :1], a[:1, :1]) == 1  # a map of one cell
