import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter

from fcam_tf import metrics
from fcam_tf.metrics.perturbation import score_all


def brightness(images, labels):
    """Probabilities of two classes that can be computed by hand: bright, and dark."""
    bright = images.mean((1, 2, 3)) / 255
    return np.where(labels == 0, bright, 1 - bright)


def corner(images, labels):
    """Looks only at the upper left pixel."""
    del labels
    return images[:, 0, 0, 0] / 255


def slow_curve(score, image, other, heatmap, label, steps):
    """Pixel by pixel, in plain loops."""
    height, width = heatmap.shape
    order = sorted(
        ((y, x) for y in range(height) for x in range(width)),
        key=lambda place: (-heatmap[place], place),
    )
    curve = []
    for step in range(steps + 1):
        mixed = image.copy()
        for place in order[: int(np.rint(step * len(order) / steps))]:
            mixed[place] = other[place]
        curve.append(score(mixed[None], np.array([label]))[0])
    return curve


def test_deletion_by_hand():
    # One bright pixel on black, found by the map: half of the four pixels hold all of it.
    image = np.zeros((1, 2, 2, 1))
    image[0, 0, 0] = 255
    heatmap = np.array([[[1.0, 0.5], [0.2, 0.0]]])
    curve = metrics.deletion_curve(corner, image, heatmap, [0], steps=4, baseline=[0])
    assert curve.tolist() == [[1, 0, 0, 0, 0]]
    assert metrics.area(curve).tolist() == [0.125]
    worst = metrics.deletion_curve(corner, image, 1 - heatmap, [0], steps=4, baseline=[0])
    assert worst.tolist() == [[1, 1, 1, 1, 0]]
    # The mean colour of the photo is what is put in its place without a baseline.
    own = metrics.deletion_curve(corner, image, heatmap, [0], steps=4)
    assert own[0].tolist() == [1, 0.25, 0.25, 0.25, 0.25]


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(
    hnp.arrays(float, (2, 3, 4), elements=st.sampled_from([0, 0.25, 0.5, 1])),
    st.integers(1, 14),
    st.integers(1, 9),
)
def test_curves_equal_plain_loops(maps, steps, batch_size):
    images = np.random.default_rng(0).uniform(0, 255, (2, 3, 4, 3)).astype(np.float32)
    options = {"steps": steps, "batch_size": batch_size}
    deleted = metrics.deletion_curve(brightness, images, maps, [0, 1], **options)
    inserted = metrics.insertion_curve(brightness, images, maps, [0, 1], **options)
    for i, image in enumerate(images):
        mean = np.broadcast_to(image.mean((0, 1)), image.shape)
        blurred = gaussian_filter(image, (5, 5, 0), mode="nearest")
        want = slow_curve(brightness, image, mean, maps[i], i, steps)
        np.testing.assert_allclose(deleted[i], want, atol=1e-5)
        want = slow_curve(brightness, blurred, image, maps[i], i, steps)
        np.testing.assert_allclose(inserted[i], want, atol=1e-5)
        assert inserted[i, -1] == pytest.approx(deleted[i, 0], abs=1e-6)


def test_batches_have_one_size_whatever_the_number_of_images():
    sizes = []

    def scores(images, labels):
        sizes.append((len(images), len(labels)))
        return brightness(images, labels)

    metrics.deletion_curve(scores, np.ones((3, 2, 2, 1)), np.ones((3, 2, 2)), [0, 0, 0], steps=4)
    metrics.deletion_curve(
        scores, np.ones((3, 2, 2, 1)), np.ones((3, 2, 2)), [0, 0, 0], steps=4, batch_size=7
    )
    assert sizes == [(32, 32), (7, 7), (7, 7), (7, 7)]


def test_scores_that_are_none_are_refused():
    pairs = [(np.ones((2, 2, 1)), 0)]
    with pytest.raises(ValueError, match=r"finite score for each image, \(32,\).*1 not finite"):
        score_all(lambda images, _: np.append(np.ones(len(images) - 1), np.nan), pairs)
    with pytest.raises(ValueError, match=r"shape \(32, 2\)"):
        score_all(lambda images, _: np.ones((len(images), 2)), pairs)


@pytest.mark.parametrize(
    ("maps", "labels", "message"),
    [
        (np.zeros((1, 2, 3)), [0], "`maps` must have the height and width"),
        (np.zeros((1, 2, 2)), [0, 1], r"`labels` must have shape \(1,\)"),
        (np.full((1, 2, 2), np.nan), [0], "map 0 contains NaN"),
        (np.full((1, 2, 2), 2.0), [0], r"map 0 must lie in \[0, 1\]"),
    ],
)
def test_what_does_not_fit_is_refused(maps, labels, message):
    with pytest.raises(ValueError, match=message):
        metrics.deletion_curve(brightness, np.zeros((1, 2, 2, 3)), maps, labels)


def test_masked_images():
    image = np.array([[[[0.0], [100.0]], [[50.0], [50.0]]]])  # mean 50
    heatmap = np.array([[[1.0, 0.5], [0.0, 1.0]]])
    assert metrics.masked(image, heatmap)[0, ..., 0].tolist() == [[0, 75], [50, 50]]
    assert metrics.masked(image, heatmap, [0])[0, ..., 0].tolist() == [[0, 50], [0, 50]]


def test_drop_and_increase_by_hand():
    before, after = [0.8, 0.5, 0.0, 0.4], [0.2, 0.6, 0.0, 0.4]
    np.testing.assert_allclose(metrics.average_drop(before, after), [0.75, 0, 0, 0])
    assert metrics.increase_in_confidence(before, after).tolist() == [0, 1, 0, 0]


def test_adcc_equals_the_formula():
    rng = np.random.default_rng(1)
    maps, again, drop = rng.random((4, 5, 6)), rng.random((4, 5, 6)), np.array([0, 0.2, 0.9, 0.5])
    for i, got in enumerate(metrics.adcc(drop, maps, again)):
        coherency = (1 + np.corrcoef(maps[i].ravel(), again[i].ravel())[0, 1]) / 2
        parts = [coherency, 1 - maps[i].mean(), 1 - drop[i]]
        assert got == pytest.approx(3 / sum(1 / part for part in parts))
    # The same map: coherent as can be.
    one = np.eye(2)[None]
    assert metrics.adcc([0], one, one) == pytest.approx(3 / (1 + 2 + 1))
    assert metrics.adcc([0], one, 1 - one) == 0  # the opposite one
    assert metrics.adcc([1], one, one) == 0  # nothing is left of the score
    assert metrics.adcc([0], one, np.ones((1, 2, 2))) == pytest.approx(3 / (2 + 2 + 1))
    with pytest.raises(ValueError, match="`maps` and `masked_maps`"):
        metrics.adcc([0], one, one[0])
