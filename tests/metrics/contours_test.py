import numpy as np
import pytest
import wsol_oracle as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fcam_tf.metrics.component_tree import build_forest, components
from fcam_tf.metrics.contours import (
    all_contours,
    best_per_threshold,
    fill_holes,
    largest_contours,
)

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)


def images(highest):
    levels = st.integers(0, highest)
    return hnp.arrays(np.uint8, SHAPES, elements=levels, fill=levels)


def check_against_opencv(image):
    scoremap = image / 255  # truncates back to the same levels, as the assertion confirms
    scoremap[(255 * scoremap).astype(np.uint8) != image] += 1e-9
    np.testing.assert_array_equal((255 * scoremap).astype(np.uint8), image)
    highest = int(image.max())
    all_found, largest_found = all_contours(image), largest_contours(image)
    for threshold in range(max(highest, 1)):
        relative = (threshold + 0.5) / max(highest, 1)
        every = oracle.boxes_at(scoremap, relative, multiple=True)
        assert sorted(all_found.at(threshold).tolist()) == sorted(every.tolist())
        largest = oracle.boxes_at(scoremap, relative, multiple=False)
        assert largest_found.at(threshold).tolist() == largest.tolist()


@settings(max_examples=150, deadline=None)
@given(images(highest=4))
def test_equal_opencv_on_few_levels(image):
    check_against_opencv(image)


@settings(max_examples=60, deadline=None)
@given(images(highest=1))
def test_equal_opencv_on_binary_maps(image):
    check_against_opencv(image)


@pytest.mark.parametrize("seed", range(4))
def test_equal_opencv_on_noise_over_all_levels(seed):
    rng = np.random.default_rng(seed)
    shape = rng.integers(20, 60, 2)
    check_against_opencv(rng.integers(0, 256, shape).astype(np.uint8))


def test_maps_taller_than_a_byte_of_rows():
    image = np.zeros((300, 7), np.uint8)
    image[270:290, 2:4] = 9
    assert all_contours(image).at(3).tolist() == [[2, 270, 4, 290]]


def test_worst_case_of_the_join():
    # Peaks rise and saddles fall along the row, so that only one hill joins in each round.
    row = np.ravel([(100 + i, 90 - i) for i in range(90)]).astype(np.uint8)
    # At 50 the saddles 90 ... 51 hold: one contour for the first 41 peaks, one for each other.
    assert len(all_contours(row[None]).at(50)) == 50


def test_hole_gives_a_box_grown_by_one_pixel():
    image = np.ones((7, 9), np.uint8)
    image[3, 4] = 0
    boxes = all_contours(image).at(0).tolist()
    assert sorted(boxes) == [[0, 0, 8, 6], [3, 2, 6, 5]]


def test_diagonal_joins_foreground_but_not_background():
    image = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]], np.uint8)
    assert all_contours(image).at(0).tolist() == [[0, 0, 2, 2]]


def test_fill_holes_floods_from_the_border():
    image = np.full((5, 5), 7, np.uint8)
    image[2, 2] = 1
    assert (fill_holes(image) == 7).all()
    image[2, 3:] = 3  # a channel to the border at level 3
    assert fill_holes(image)[2, 2] == 3
    assert fill_holes(image)[2, 4] == 3


def test_components_form_a_tree():
    image = np.random.default_rng(0).integers(0, 20, (30, 30)).astype(np.uint8)
    tree = components(build_forest(image, 8), image, with_pixels=True)
    roots = np.flatnonzero(tree.parent == np.arange(tree.parent.size))
    assert roots.size == 1
    assert tree.below[roots] == -1
    inner = np.delete(np.arange(tree.parent.size), roots)
    assert (tree.level[tree.parent[inner]] < tree.level[inner]).all()
    assert (tree.level[tree.of_pixel] == image.ravel()).all()


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255), st.integers(0, 256)), max_size=30))
def test_best_per_threshold_is_the_plain_maximum(spans):
    values, first, stop = np.array(spans).reshape(-1, 3).T
    first, stop = first.astype(int), stop.astype(int)
    want = [
        max((v for v, a, b in zip(values, first, stop, strict=True) if a <= t < b), default=-1)
        for t in range(256)
    ]
    assert best_per_threshold(values, first, stop, default=-1).tolist() == want
