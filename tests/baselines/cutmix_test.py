import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fcam_tf.baselines.base import draw_key
from fcam_tf.baselines.cutmix import CutMix, _draw_beta, _stretch


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), concentration=st.sampled_from([0.2, 1.0, 3.0]))
def test_pastes_one_box_and_counts_its_area(seed, concentration):
    # Each image is filled with its own number, so that the source of each pixel shows.
    images = np.tile(np.arange(5.0, dtype=np.float32)[:, None, None, None], (1, 20, 30, 3))
    labels = np.arange(5) + 10
    mixed, targets = CutMix(concentration).augment(images, labels, (seed, 0))
    mixed, targets = np.asarray(mixed), {k: np.asarray(v) for k, v in targets.items()}
    np.testing.assert_array_equal(targets["label"], labels)
    assert sorted(targets["other"]) == sorted(labels)
    other = targets["other"] - 10
    pasted = (mixed[..., 0] != images[..., 0])[other != np.arange(5)]
    for box in pasted:
        rows, columns = box.any(1), box.any(0)
        np.testing.assert_array_equal(box, rows[:, None] & columns[None])  # a full rectangle
        for line in (rows, columns):
            assert np.count_nonzero(np.diff(line.astype(int)) == 1) + line[0] <= 1  # in one piece
        np.testing.assert_allclose(targets["fraction"], 1 - box.mean(), rtol=1e-5)
    for number, image in enumerate(mixed):
        assert set(np.unique(image)) <= {number, other[number]}


@pytest.mark.parametrize(
    ("size", "cut", "position", "first", "count"),
    [
        (224, 0.5, 0.5, 56, 112),  # side 112, centre 112
        (224, 0.5, 0.0, 0, 56),  # half of it is cut off
        (224, 0.5, 0.999, 167, 57),  # centre 223
        (10, 0.55, 0.5, 3, 4),  # side 5, half of it 2 by integer division
        (10, 0.0, 0.5, 0, 0),
    ],
)
def test_box_along_one_axis(size, cut, position, first, count):
    inside = _stretch(size, tf.constant(cut), tf.constant(position)).numpy()
    assert np.count_nonzero(inside) == count
    assert not count or np.argmax(inside) == first


def test_beta_has_its_mean_and_variance():
    draw = tf.function(lambda number, a: _draw_beta(a, draw_key((0, number), 0)))
    for concentration in (0.5, 1.0, 4.0):
        drawn = np.array([draw(tf.constant(i), tf.constant(concentration)) for i in range(400)])
        # four standard errors; the variance of Beta(a, a) is 1 / (4 (2 a + 1))
        variance = 1 / (4 * (2 * concentration + 1))
        assert abs(drawn.mean() - 0.5) < 4 * np.sqrt(variance / 400)
        assert abs(drawn.var() / variance - 1) < 0.3
        assert ((drawn >= 0) & (drawn <= 1)).all()


def test_share_is_uniform_for_beta_1_in_the_middle():
    # The area is 1 - lam of a uniform lam before boxes are cut off at the edges, which only
    # makes the fraction that is left larger: below the uniform's distribution everywhere.
    images = np.zeros((2, 64, 64, 3), np.float32)
    draw = tf.function(
        lambda i: CutMix().augment(images, np.zeros(2, int), (0, i))[1]["fraction"][0]
    )
    fractions = np.sort([draw(tf.constant(i)) for i in range(200)])
    expected = (np.arange(200) + 0.5) / 200
    assert np.all(fractions > expected - 0.12)
    assert fractions.min() < 0.3
    assert fractions.max() > 0.95


def test_probability_0_never_mixes():
    images = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype(np.float32)
    mixed, targets = CutMix(probability=0.0).augment(images, np.arange(3), (0, 0))
    np.testing.assert_array_equal(mixed, images)
    np.testing.assert_array_equal(targets["fraction"], 1.0)


@pytest.mark.parametrize(
    ("options", "word"), [({"beta": 0.0}, "beta"), ({"probability": -0.1}, "probability")]
)
def test_refuses(options, word):
    with pytest.raises(ValueError, match=word):
        CutMix(**options)
