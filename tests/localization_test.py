import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fcam_tf.localization import (
    NO_BOX,
    Localization,
    box_of,
    check_threshold,
    largest_component,
    scale_box,
    threshold_level,
)

HEATMAPS = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(0, 1, width=32)
)


def localize(heatmap, threshold="otsu"):
    return Localization.from_heatmaps(np.array([heatmap]), [[1.0]], None, threshold)[0]


def test_number_is_relative_to_the_maximum_and_strict():
    # 255 * 0.8 = 204, half of it 102; 255 * 0.4 = 102 is not above that, 255 * 0.42 = 107 is.
    result = localize([[0.8, 0.4, 0.8], [0.0, 0.0, 0.42]], 0.5)
    np.testing.assert_array_equal(result.masks, [[0, 0, 1], [0, 0, 1]])
    assert result.thresholds == pytest.approx(0.5)


def test_mask_and_box_by_hand():
    heatmap = [
        [0.0, 0.0, 0.0, 0.0, 0.9],
        [0.0, 0.8, 0.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.2, 0.0],
        [0.0, 0.0, 0.7, 0.0, 0.0],
    ]
    result = localize(heatmap, 0.5)
    expected = np.zeros((4, 5), bool)
    expected[[1, 2, 3], [1, 2, 2]] = True  # joined across a corner; the single pixel is smaller
    np.testing.assert_array_equal(result.masks, expected)
    assert tuple(result.boxes) == (1, 1, 2, 3)
    assert result.thresholds == pytest.approx(127 / 255)


def test_otsu_parts_two_groups():
    heatmap = np.full((6, 6), 0.1, np.float32)
    heatmap[2:5, 1:4] = 0.9
    heatmap[0, 5] = 0.2
    assert tuple(localize(heatmap).boxes) == (1, 2, 3, 4)


@pytest.mark.parametrize("threshold", ["otsu", 0, 0.3, 1])
def test_all_zero_map_finds_nothing(threshold):
    result = localize(np.zeros((3, 4)), threshold)
    assert not result.masks.any()
    assert tuple(result.boxes) == NO_BOX
    x0, y0, x1, y1 = result.boxes
    assert (x1 - x0 + 1) * (y1 - y0 + 1) == 0


@pytest.mark.parametrize("threshold", ["otsu", 0, 0.3, 1])
def test_constant_map_is_object_everywhere(threshold):
    result = localize(np.full((3, 4), 0.5), threshold)
    assert result.masks.all()
    assert tuple(result.boxes) == (0, 0, 3, 2)


def test_nan_counts_as_zero():
    assert tuple(localize([[np.nan, 1.0], [0.0, np.nan]]).boxes) == (1, 0, 1, 0)


def test_first_of_equally_large_components():
    assert box_of(largest_component(np.array([[0, 0, 1], [1, 0, 0]], bool))) == (2, 0, 2, 0)


SPOTS = np.zeros((10, 10))  # 4, 12 and 3 pixels; the last hang together over a corner
SPOTS[:2, :2], SPOTS[4:7, 2:6], SPOTS[8, 8], SPOTS[9, 9], SPOTS[9, 8] = 0.9, 0.6, 1, 1, 0.7


def test_regions_by_hand():
    result = localize(SPOTS, 0.5)
    large, small, last = result.regions(min_area=0)
    assert (large.box, large.area) == ((2, 4, 5, 6), 0.12)
    assert large.heat == pytest.approx(0.6)
    assert large.mask.tolist() == [[True] * 4] * 3
    assert (small.box, small.area) == ((0, 0, 1, 1), 0.04)
    assert last.box == (8, 8, 9, 9)
    assert last.mask.tolist() == [[True, False], [True, True]]
    assert last.heat == pytest.approx(0.9)
    assert large.box == tuple(result.boxes)


@pytest.mark.parametrize(
    ("options", "areas"),
    [
        ({}, [0.12, 0.04, 0.03]),
        ({"most": 2}, [0.12, 0.04]),
        ({"most": 1}, [0.12]),
        ({"min_area": 0.04}, [0.12, 0.04]),
        ({"min_area": 0.5}, [0.12]),  # the largest is there however small it is
    ],
)
def test_which_regions(options, areas):
    assert [region.area for region in localize(SPOTS, 0.5).regions(**options)] == areas


def test_no_region():
    assert localize(np.zeros((3, 3))).regions() == []


@settings(deadline=None)
@given(heatmap=HEATMAPS, threshold=st.one_of(st.just("otsu"), st.floats(0, 1)))
def test_the_first_region_is_the_mask(heatmap, threshold):
    result = localize(heatmap, threshold)
    regions, largest = result.regions(min_area=0), result.regions(most=1)
    if not regions:
        assert not result.masks.any()
        assert largest == []
        return
    assert largest[0]._replace(mask=None) == regions[0]._replace(mask=None)
    np.testing.assert_array_equal(largest[0].mask, regions[0].mask)
    x0, y0, x1, y1 = regions[0].box
    assert regions[0].box == tuple(result.boxes)
    np.testing.assert_array_equal(regions[0].mask, result.masks[y0 : y1 + 1, x0 : x1 + 1])
    above = (255 * heatmap.astype(float)).astype(int) > threshold_level(heatmap, threshold)
    assert sum(region.mask.sum() for region in regions) == above.sum()


def test_labels_scores_and_parts():
    probabilities = [[0.2, 0.7, 0.1], [0.6, 0.3, 0.1]]
    predicted = Localization.from_heatmaps(np.ones((2, 2, 2)), probabilities)
    np.testing.assert_array_equal(predicted.labels, [1, 0])
    np.testing.assert_allclose(predicted.scores, [0.7, 0.6])
    given_labels = Localization.from_heatmaps(np.ones((2, 2, 2)), probabilities, [2, 1])
    np.testing.assert_allclose(given_labels.scores, [0.1, 0.3])
    assert len(predicted) == 2
    assert len(predicted[:1]) == 1
    assert predicted[1].labels == 0


def test_types():
    result = Localization.from_heatmaps(np.random.default_rng(0).random((2, 3, 4)), np.ones((2, 1)))
    shapes = {name: (value.shape, value.dtype.name) for name, value in vars(result).items()}
    assert shapes == {
        "heatmaps": ((2, 3, 4), "float32"),
        "labels": ((2,), "int64"),
        "scores": ((2,), "float32"),
        "boxes": ((2, 4), "int64"),
        "masks": ((2, 3, 4), "bool"),
        "thresholds": ((2,), "float32"),
        "probabilities": ((2, 1), "float32"),
    }


@settings(deadline=None)
@given(heatmap=HEATMAPS, threshold=st.one_of(st.just("otsu"), st.floats(0, 1)))
def test_box_is_tight_around_a_mask_that_holds_only_pixels_above_the_threshold(heatmap, threshold):
    result = localize(heatmap, threshold)
    levels = (255 * heatmap.astype(float)).astype(int)
    if levels.max() == 0:
        assert tuple(result.boxes) == NO_BOX
        return
    x0, y0, x1, y1 = result.boxes
    inside = result.masks[y0 : y1 + 1, x0 : x1 + 1]
    assert inside.sum() == result.masks.sum() > 0
    assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
    level = threshold_level(heatmap, threshold)
    assert (levels[result.masks] > level).all()
    assert result.thresholds * levels.max() == pytest.approx(level, abs=1e-3)


@pytest.mark.parametrize(
    ("box", "source", "target", "expected"),
    [
        ((0, 0, 223, 223), (224, 224), (500, 375), (0, 0, 499, 374)),
        ((10, 20, 10, 20), (100, 100), (100, 100), (10, 20, 10, 20)),
        ((1, 2, 3, 4), (10, 10), (20, 30), (2, 6, 7, 14)),  # 2x and 3x
        ((3, 3, 4, 4), (10, 10), (5, 5), (1, 1, 2, 2)),  # halved: 1.5..2.5 touches pixels 1 and 2
        ((0, 0, 0, 0), (10, 10), (1, 1), (0, 0, 0, 0)),
        ((9, 9, 9, 9), (10, 10), (1, 1), (0, 0, 0, 0)),
        ((1, 0, 1, 0), (3, 1), (10, 1), (3, 0, 6, 0)),  # 3.33..6.67
        (NO_BOX, (10, 10), (99, 99), NO_BOX),
    ],
)
def test_scale_box_by_hand(box, source, target, expected):
    assert scale_box(box, source, target) == expected


@given(data=st.data())
def test_scaled_box_covers_just_what_the_box_covers(data):
    sides = st.integers(1, 12_000)
    source = width, height = data.draw(st.tuples(sides, sides))
    target = data.draw(st.tuples(sides, sides))
    x0 = data.draw(st.integers(0, width - 1))
    y0 = data.draw(st.integers(0, height - 1))
    box = x0, y0, data.draw(st.integers(x0, width - 1)), data.draw(st.integers(y0, height - 1))
    scaled = scale_box(box, source, target)
    for low, high, new_low, new_high, old, new in zip(
        box[:2], box[2:], scaled[:2], scaled[2:], source, target, strict=True
    ):
        assert 0 <= new_low <= new_high < new
        # In units of 1 / (old * new) of the side, all whole numbers.
        assert new_low * old <= low * new < (new_low + 1) * old
        assert new_high * old < (high + 1) * new <= (new_high + 1) * old


@pytest.mark.parametrize(
    ("given_value", "want"), [("otsu", "otsu"), ("0.25", 0.25), (1, 1.0), (0, 0.0)]
)
def test_check_threshold(given_value, want):
    assert check_threshold(given_value) == want


@pytest.mark.parametrize("wrong", ["0tsu", "", None, -0.1, 1.1, "nan", "1e9"])
def test_wrong_threshold(wrong):
    with pytest.raises(ValueError, match=r"`threshold` must be 'otsu' or a number in \[0, 1\]"):
        check_threshold(wrong)


@pytest.mark.parametrize(
    ("labels", "expected"), [(None, [1, 0]), (0, [0, 0]), ([-1, 1], [1, 1]), ([[0], [-1]], [0, 0])]
)
def test_labels(labels, expected):
    maps = np.zeros((2, 2, 2))
    found = Localization.from_heatmaps(maps, [[0.25, 0.75], [0.5, 0.5]], labels)
    assert found.labels.tolist() == expected
    assert found.scores.tolist() == [[0.25, 0.75][expected[0]], 0.5]


@pytest.mark.parametrize("labels", [5000, [0, 2], -2, [0], [0.0, 1.0], [[0, 1]], ["a", "b"]])
def test_labels_that_are_no_classes(labels):
    with pytest.raises(ValueError, match="`labels` must"):
        Localization.from_heatmaps(np.zeros((2, 2, 2)), np.full((2, 2), 0.5), labels)


def test_no_images():
    found = Localization.from_heatmaps(np.zeros((0, 4, 6)), np.zeros((0, 3)), [])
    assert (len(found), found.masks.shape, found.boxes.shape) == (0, (0, 4, 6), (0, 4))
