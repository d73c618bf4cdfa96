import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcam_tf.baselines.has import MEAN_COLOUR, HaS


def test_hides_in_the_mean_colour_of_imagenet():
    # 255 times what photos are normalised by: 0.485, 0.456, 0.406.
    np.testing.assert_allclose(MEAN_COLOUR, 255 * np.array([0.485, 0.456, 0.406]), atol=1e-4)


def hidden(images):
    return np.all(np.isclose(images, MEAN_COLOUR), axis=-1)


@settings(deadline=None, max_examples=20)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    grid=st.integers(1, 9),
    seed=st.integers(0, 1000),
)
def test_hides_whole_squares_and_leaves_the_rest(height, width, grid, seed):
    images = np.zeros((2, height, width, 3), np.float32)
    labels = np.array([3, 5])
    changed, kept = HaS(grid).augment(images, labels, (seed, 1))
    mask = hidden(np.asarray(changed))
    assert np.all((np.asarray(changed) == 0).all(-1) | mask)
    for top in range(0, height, grid):
        for left in range(0, width, grid):
            square = mask[:, top : top + grid, left : left + grid]
            assert np.all(square == square[:, :1, :1])
    np.testing.assert_array_equal(kept, labels)


def test_hides_the_expected_share_by_image():
    images = np.zeros((8, 128, 128, 3), np.float32)
    fractions = hidden(np.asarray(HaS(4, 0.3).augment(images, None, (0, 0))[0])).mean(axis=(1, 2))
    # 1024 squares each: four standard deviations are 0.057
    assert np.all(np.abs(fractions - 0.3) < 0.06)
    assert len(np.unique(fractions)) > 1


def test_rate_0_changes_nothing_and_rate_1_hides_all():
    images = np.random.default_rng(0).uniform(0, 255, (2, 9, 9, 3)).astype(np.float32)
    np.testing.assert_array_equal(HaS(drop_rate=0.0).augment(images, None, (0, 0))[0], images)
    assert hidden(np.asarray(HaS(drop_rate=1.0).augment(images, None, (0, 0))[0])).all()


def test_a_seed_repeats_and_none_does_not():
    images = np.zeros((1, 64, 64, 3), np.float32)
    draw = lambda seed: np.asarray(HaS().augment(images, None, seed)[0])  # noqa: E731
    np.testing.assert_array_equal(draw((1, 2)), draw((1, 2)))
    assert (draw((1, 2)) != draw((1, 3))).any()
    assert (draw(None) != draw(None)).any()


@pytest.mark.parametrize(
    ("options", "word"), [({"grid_size": 0}, "grid_size"), ({"drop_rate": 1.5}, "drop_rate")]
)
def test_refuses(options, word):
    with pytest.raises(ValueError, match=word):
        HaS(**options)
