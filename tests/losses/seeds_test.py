import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.filters import threshold_otsu

from fcam_tf.losses import IGNORED, sample_seeds, seeds


def smooth(rng, height, width, batch=1):
    maps = ndimage.gaussian_filter(rng.random((batch, height, width)), (0, 4, 4))
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return ((maps - low) / (high - low)).astype(np.float32)


def object_region(cam, erosion, iterations):
    """Follow the rules with scikit-image and SciPy, for one map."""
    levels = np.floor(255 * cam).astype(np.uint8)
    threshold = np.clip(threshold_otsu(levels), 1, 254)
    region = levels > threshold
    for _ in range(iterations):
        eroded = ndimage.binary_erosion(region, np.ones((erosion, erosion)), border_value=1)
        if not eroded.any():
            break
        region = eroded
    return region


def parts(cams, **options):
    """Return the object region, what is surely background's pool, and its ties, from the code."""
    cams = np.asarray(cams, np.float32)
    scaled = (255 * cams).reshape(len(cams), -1)
    levels = np.floor(scaled)
    counts = seeds._histogram(levels.astype("int32"), 256)
    region = levels > np.asarray(seeds._otsu(counts))
    region = seeds._erode(
        region.reshape(cams.shape), options.get("erosion", 11), options.get("iterations", 1)
    )
    pool = int(options.get("share", 0.1) * scaled.shape[1])
    below, ties = seeds._lowest(scaled, levels, counts, pool)
    return np.asarray(region), *(np.asarray(x).reshape(cams.shape) for x in (below, ties)), pool


@pytest.mark.parametrize("seed", range(12))
def test_regions_are_those_of_the_plain_rules(seed):
    rng = np.random.default_rng(seed)
    cams = smooth(rng, 60, 47, batch=3)
    share = rng.uniform(0.05, 0.9)
    erosion, iterations = [(1, 1), (5, 1), (11, 1), (5, 3)][seed % 4]
    region, below, ties, pool = parts(cams, erosion=erosion, iterations=iterations, share=share)
    for n, cam in enumerate(cams):
        np.testing.assert_array_equal(region[n], object_region(cam, erosion, iterations))
        limit = np.sort(cam.ravel())[pool - 1]
        near = np.abs(cam - limit) < 2e-6
        np.testing.assert_array_equal(below[n][~near], (cam < limit)[~near])
        assert not ties[n][~near].any()
        assert below[n].sum() < pool <= below[n].sum() + ties[n].sum()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 255), min_size=2, max_size=40), st.integers(0, 9))
def test_otsu_is_the_first_best_split(values, seed):
    levels = np.random.default_rng(seed).permutation(values)
    counts = np.bincount(levels, minlength=256)
    below = np.cumsum(counts)[:-1].astype(float)
    above = len(levels) - below
    moment = np.cumsum(counts * np.arange(256))[:-1]
    rest = levels.sum() - moment
    distance = moment / np.maximum(below, 1) - rest / np.maximum(above, 1)
    variance = below * above * distance**2
    found = int(np.asarray(seeds._otsu(counts[None].astype("int32")))[0, 0])
    best = np.flatnonzero(variance >= variance.max() * (1 - 1e-5))
    assert found in np.clip(best, 1, 254)


def test_golden_square():
    cam = np.zeros((1, 224, 224), np.float32)
    cam[0, 80:130, 60:110] = 1
    assert parts(cam, erosion=1)[0].sum() == 2500
    assert parts(cam)[0].sum() == 1600


def test_golden_gaussian():
    y, x = np.mgrid[:224, :224]
    cam = np.exp(-((x - 112) ** 2 + (y - 90) ** 2) / (2 * 40.0**2))
    cam = ((cam - cam.min()) / (cam.max() - cam.min())).astype(np.float32)[None]
    levels = np.floor(255 * cam).astype("int32").reshape(1, -1)
    assert int(np.asarray(seeds._otsu(seeds._histogram(levels, 256)))[0, 0]) == 89
    assert parts(cam, erosion=1)[0].sum() == 10477
    assert parts(cam)[0].sum() == 8277


def test_labels_come_from_their_regions_and_grow_to_squares():
    cams = smooth(np.random.default_rng(0), 64, 64, batch=4)
    labels = np.asarray(sample_seeds(cams, 3))
    assert labels.dtype == np.int32
    region, below, ties, _ = parts(cams)
    for n in range(4):
        for label, allowed in ((1, region[n]), (0, below[n] | ties[n])):
            where = np.argwhere(labels[n] == label)
            assert 4 <= len(where) <= 9
            assert np.ptp(where, axis=0).max() <= 2
            middle = ndimage.binary_dilation(allowed, np.ones((3, 3)))
            assert middle[labels[n] == label].all()


def test_every_pixel_of_a_region_is_equally_likely():
    cam = np.full((1, 12, 12), 0.5, np.float32)
    cam[0, :2] = 0.1
    cam[0, 8:, 8:] = 1.0
    options = {"kernel": 1, "erosion": 1, "negative_fraction": 0.1}
    draws = np.asarray(sample_seeds(np.repeat(cam, 6000, axis=0), 0, **options))
    positives = (draws == 1).sum(axis=0)
    negatives = (draws == 0).sum(axis=0)
    assert positives.sum() == negatives.sum() == 6000
    inside = positives[8:, 8:]
    assert inside.sum() == 6000
    assert np.abs(inside - 6000 / 16).max() < 5 * np.sqrt(6000 / 16)
    # The 14 lowest are the 24 pixels of the first rows, which all tie.
    assert negatives[:2].sum() == 6000
    assert np.abs(negatives[:2] - 6000 / 24).max() < 5 * np.sqrt(6000 / 24)


def test_pixels_at_the_limit_share_the_places_that_are_left():
    cam = np.ones((1, 10, 10), np.float32)
    cam[0, 0] = 0.1  # 10 pixels surely in the pool of 20
    cam[0, 1:5] = 0.3  # 40 pixels for the other 10 places
    draws = np.asarray(
        sample_seeds(
            np.repeat(cam, 4000, axis=0), 1, kernel=1, erosion=1, negatives=6, negative_fraction=0.2
        )
    )
    negatives = (draws == 0).sum(axis=(0,))
    assert ((draws == 0).sum(axis=(1, 2)) == 6).all()
    assert negatives[5:].sum() == 0
    np.testing.assert_allclose(negatives[0], 4000 * 6 / 20, rtol=0.12)
    np.testing.assert_allclose(negatives[1:5].mean(), 4000 * 6 / 80, rtol=0.05)
    # All six from the ten sure places: hypergeometric, C(10, 6) / C(20, 6).
    sure = ((draws[:, 0] == 0).sum(axis=1) == 6).mean()
    assert abs(sure - 210 / 38760) < 0.005


def test_many_draws_take_all_there_is():
    cam = np.zeros((1, 10, 10), np.float32)
    cam[0, 4:6, 4:6] = 1
    labels = np.asarray(
        sample_seeds(cam, 0, positives=50, negatives=50, kernel=1, erosion=1, negative_fraction=0.2)
    )
    assert (labels == 1).sum() == 4
    assert (labels == 0).sum() == 20


def test_both_kinds_ignore_what_they_share():
    cam = np.zeros((1, 5, 5), np.float32)
    cam[0, 2, 2] = 1
    labels = np.asarray(
        sample_seeds(cam, 0, negatives=25, kernel=5, negative_fraction=1, erosion=1)
    )
    assert (labels == IGNORED).all()


def test_an_object_region_may_be_empty():
    cam = np.zeros((1, 8, 8), np.float32)
    cam[0, 2, 2] = 1.5 / 255  # 8-bit level 1, which the threshold's lower limit excludes
    labels = np.asarray(sample_seeds(cam, 0, kernel=1))
    assert (labels == 1).sum() == 0
    assert (labels == 0).sum() == 1


def test_constant_maps_give_no_seeds_and_hurt_no_others():
    cams = np.concatenate([np.full((1, 32, 32), 0.7), smooth(np.random.default_rng(0), 32, 32)])
    labels = np.asarray(sample_seeds(cams, 0))
    assert (labels[0] == IGNORED).all()
    assert (labels[1] == 1).any()


def test_nan_counts_as_zero():
    cams = smooth(np.random.default_rng(0), 32, 32)
    cams[0, :8] = np.nan
    zeroed = np.nan_to_num(cams)
    np.testing.assert_array_equal(sample_seeds(cams, 5), sample_seeds(zeroed, 5))


def test_borders_do_not_erode():
    cam = np.zeros((1, 30, 30), np.float32)
    cam[0, :8, :8] = 1
    region = parts(cam, erosion=5)[0][0]
    assert region.sum() == 36
    assert region[0, 0]


def test_an_erosion_that_leaves_nothing_is_left_out():
    cam = np.zeros((1, 30, 30), np.float32)
    cam[0, 10:17, 10:17] = 1
    assert parts(cam, erosion=5, iterations=3)[0].sum() == 9
    assert parts(cam, erosion=11)[0].sum() == 49


def test_seeds_repeat_and_generators_move_on():
    cams = smooth(np.random.default_rng(1), 48, 48, batch=2)
    np.testing.assert_array_equal(sample_seeds(cams, 7), sample_seeds(cams, 7))
    generator = keras.random.SeedGenerator(7)
    first, second = (np.asarray(sample_seeds(cams, generator)) for _ in range(2))
    assert (first != second).any()


def test_runs_in_a_graph_of_unknown_shape():
    graph = tf.function(
        lambda x: sample_seeds(x, 7), input_signature=[tf.TensorSpec((None, None, None))]
    )
    cams = smooth(np.random.default_rng(1), 48, 40, batch=2)
    np.testing.assert_array_equal(graph(cams), sample_seeds(cams, 7))


def test_whatever_the_map_labels_are_labels():
    @settings(max_examples=30, deadline=None)
    @given(
        st.integers(0, 10**6),
        st.sampled_from([2, 3, 256]),
        st.integers(1, 4),
        st.sampled_from([1, 3, 5]),
        st.floats(0.05, 1),
    )
    def check(seed, levels, number, kernel, share):
        rng = np.random.default_rng(seed)
        cams = (rng.integers(0, levels, (2, 14, 11)) / (levels - 1)).astype(np.float32)
        labels = np.asarray(
            sample_seeds(
                cams,
                seed,
                positives=number,
                negatives=number,
                kernel=kernel,
                negative_fraction=share,
                erosion=3,
            )
        )
        assert set(np.unique(labels)) <= {0, 1, IGNORED}
        assert ((labels == 1).sum(axis=(1, 2)) <= number * kernel**2).all()
        assert ((labels == 0).sum(axis=(1, 2)) <= number * kernel**2).all()

    check()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"positives": 0}, "positives"),
        ({"negatives": 0}, "negatives"),
        ({"kernel": 2}, "kernel"),
        ({"erosion": 4}, "erosion"),
        ({"negative_fraction": 0}, "negative_fraction"),
        ({"negative_fraction": 1.1}, "negative_fraction"),
        ({"erosion_iterations": -1}, "erosion_iterations"),
        ({"positives": 65}, "positives"),
        ({"negatives": 65}, "negatives"),
    ],
)
def test_bad_arguments(options, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        sample_seeds(np.zeros((1, 8, 8), np.float32), 0, **options)


def test_arguments_of_another_type():
    with pytest.raises(TypeError, match="`positives`"):
        sample_seeds(np.zeros((1, 8, 8), np.float32), 0, positives=1.5)
    assert sample_seeds(np.zeros((1, 8, 8)), 0, positives=np.int64(64)).shape == (1, 8, 8)
