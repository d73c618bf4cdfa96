import numpy as np
import pytest

from fcam_tf.losses import (
    Batch,
    FCAMLoss,
    crf_loss,
    cross_entropy,
    entropy,
    partial_cross_entropy,
    sample_seeds,
    size_constraint,
)
from tests.ops.examples import photos, soft_maps

MAPS = np.log(soft_maps(np.random.default_rng(0), 3, 32, 32, 2)).astype("float32")
CAMS = np.random.default_rng(1).random((3, 32, 32)).astype("float32")


def terms(loss, epoch=1.0, **given):
    found = loss.terms(Batch(photos(32), MAPS, np.float32(epoch), CAMS, 5, **given))
    return {name: np.asarray(value) for name, value in found.items()}


def softmax(x):
    x = np.exp(x)
    return x / x.sum(axis=-1, keepdims=True)


def test_terms_are_the_weighted_losses():
    found = terms(
        FCAMLoss(seeds=2, crf=3e-9, size=0.5, entropy=0.25, negative_fraction=0.3), epoch=3
    )
    seeds = sample_seeds(CAMS, 5, negative_fraction=0.3)
    expected = {
        "seeds": 2 * np.asarray(partial_cross_entropy(MAPS, seeds)),
        "crf": 3e-9 * np.asarray(crf_loss(photos(32), softmax(MAPS))),
        "size": 0.5 * np.asarray(size_constraint(softmax(MAPS), 1.01**2)),
        "entropy": 0.25 * np.asarray(entropy(MAPS)),
    }
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1, 30, 1e30])
def test_probabilities_are_the_softmax(scale):
    maps = scale * MAPS
    expected = np.exp(maps - maps.max(axis=-1, keepdims=True))
    expected /= expected.sum(axis=-1, keepdims=True)
    found = np.asarray(Batch(photos(32), maps, 1.0).probabilities)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-30)


def test_the_paper_s_terms_are_the_default():
    assert list(terms(FCAMLoss())) == ["seeds", "crf", "size"]


def test_masks_are_labels_of_all_pixels():
    masks = np.random.default_rng(2).choice([0, 1, 255], (3, 32, 32))
    found = FCAMLoss(seeds=0, crf=0, size=0, masks=2).terms(
        Batch(photos(32), MAPS, np.float32(1), masks=masks)
    )
    assert list(found) == ["masks"]
    log_softmax = MAPS - np.log(np.exp(MAPS).sum(-1, keepdims=True))
    chosen = np.where(masks == 1, log_softmax[..., 1], log_softmax[..., 0])
    np.testing.assert_allclose(
        np.asarray(found["masks"]).mean(), -2 * chosen[masks != 255].mean(), rtol=1e-5
    )


def test_classes_count_where_the_classifier_trains():
    logits, labels = np.float32([[0, 1], [2, 0], [1, 1]]), np.array([1, 0, -1])
    loss = FCAMLoss(crf=0, size=0, classification=3, windows={"classification": (2, None)})
    assert list(terms(loss, 2)) == ["seeds"]
    found = terms(loss, 2, labels=labels, logits=logits)
    expected = 3 * np.asarray(cross_entropy(labels, logits))
    np.testing.assert_allclose(found["classification"], expected, rtol=1e-6)
    assert not terms(loss, 1, labels=labels, logits=logits)["classification"].any()


def test_is_a_value():
    loss = FCAMLoss(crf=1e-9, windows={"crf": [5, None]})
    assert loss == FCAMLoss(crf=1e-9, windows={"crf": (5, None)}) != FCAMLoss()
    assert len({loss, FCAMLoss.from_config(loss.get_config())}) == 1
    with pytest.raises(AttributeError, match="crf"):
        loss.crf = 0


def test_weight_zero_leaves_a_term_out():
    assert list(terms(FCAMLoss(crf=0, size=0))) == ["seeds"]


@pytest.mark.parametrize(
    ("window", "on"), [((2, None), [0, 1, 1, 1]), ((1, 2), [1, 1, 0, 0]), ((3, 3), [0, 0, 1, 0])]
)
def test_windows(window, on):
    loss = FCAMLoss(crf=0, size=1, seeds=0, windows={"size": window})
    found = [terms(loss, epoch)["size"].any() for epoch in (1, 2, 3, 4)]
    assert found == [bool(x) for x in on]


def test_barrier_grows_to_its_limit():
    loss = FCAMLoss(barrier_max=1.05)
    found = [float(loss.barrier(epoch)) for epoch in (1, 2, 5, 6, 100)]
    np.testing.assert_allclose(found, [1, 1.01, 1.01**4, 1.05, 1.05], rtol=1e-6)


def test_barrier_of_the_facts():
    loss = FCAMLoss()
    np.testing.assert_allclose(
        [float(loss.barrier(e)) for e in (11, 51)], [1.1046, 1.6446], atol=1e-4
    )


def test_round_trip():
    loss = FCAMLoss(crf=1e-9, windows={"crf": (5, None)}, erosion=5, crf_method="exact")
    again = FCAMLoss.from_config(loss.get_config())
    assert again.get_config() == loss.get_config()
    assert again.windows == {"crf": (5, None)}
    assert FCAMLoss.from_config({"negative_share": 0.4}).negative_fraction == 0.4  # older files


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_bad_weights(value):
    with pytest.raises(ValueError, match="`crf`"):
        FCAMLoss(crf=value)


def test_unknown_terms():
    with pytest.raises(ValueError, match="colour"):
        FCAMLoss(windows={"colour": (1, 2)})


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("seeds", "1", TypeError),
        ("masks", None, TypeError),
        ("positives", 0, ValueError),
        ("negatives", 2.5, TypeError),
        ("kernel", 4, ValueError),
        ("erosion", 0, ValueError),
        ("erosion_iterations", -1, ValueError),
        ("negative_fraction", 0, ValueError),
        ("negative_fraction", 1.5, ValueError),
        ("sigma_rgb", 0.0, ValueError),
        ("sigma_xy", float("nan"), ValueError),
        ("crf_scale", -1, ValueError),
        ("crf_method", "dense", ValueError),
        ("barrier_t", 0, ValueError),
        ("barrier_growth", -1.01, ValueError),
        ("barrier_max", "10", TypeError),
        ("windows", [("crf", 1)], TypeError),
    ],
)
def test_bad_arguments_are_refused_before_a_run(name, value, error):
    with pytest.raises(error, match=f"`{name}` must.*Received"):
        FCAMLoss(**{name: value})


@pytest.mark.parametrize(
    ("window", "error"),
    [
        (5, ValueError),
        ((1,), ValueError),
        ("12", ValueError),
        ((0, 3), ValueError),
        ((3, 2), ValueError),
        ((None, 2), TypeError),
        ((1.5, 2), TypeError),
    ],
)
def test_bad_windows(window, error):
    with pytest.raises(error, match=r"`windows.*'?crf'?"):
        FCAMLoss(windows={"crf": window})
