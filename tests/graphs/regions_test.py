import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from fcam_tf.graphs.regions import (
    LITERT,
    ONNX,
    TENSORFLOW,
    _levels,
    boxes_of,
    largest_components,
    object_masks,
    scale_boxes,
)
from fcam_tf.grey_levels import to_levels
from fcam_tf.localization import Localization, box_of, largest_component, scale_box


@settings(max_examples=80, deadline=None)
@given(arrays(bool, (2, 9, 7)))
def test_components_and_boxes_are_those_of_the_library(masks):
    found = largest_components(masks).numpy()
    for n in range(2):
        np.testing.assert_array_equal(found[n], largest_component(masks[n]))
    np.testing.assert_array_equal(boxes_of(found), [box_of(mask) for mask in found])


def test_levels_are_those_of_float64():
    bounds = np.float32(np.arange(256) / 255)
    maps = np.stack([np.nextafter(bounds, -1), bounds, np.nextafter(bounds, 2)]).clip(0, 1)[None]
    np.testing.assert_array_equal(_levels(maps), to_levels(maps))


def test_a_long_snake():
    mask = np.zeros((1, 41, 41), bool)
    mask[0, ::2] = True
    mask[0, 1::4, -1] = mask[0, 3::4, 0] = True
    np.testing.assert_array_equal(largest_components(mask), mask)


@pytest.mark.parametrize("threshold", ["otsu", 0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("engine", [TENSORFLOW, LITERT, ONNX])
def test_masks_are_those_of_a_localisation(threshold, engine):
    rng = np.random.default_rng(0)
    maps = ndimage.gaussian_filter(rng.random((6, 40, 50)), (0, 3, 3))
    maps -= maps.min(axis=(1, 2), keepdims=True)
    maps /= maps.max(axis=(1, 2), keepdims=True) * rng.uniform(1, 3, (6, 1, 1))
    maps[4], maps[5] = 0, 0.5
    maps = maps.astype("float32")
    expected = Localization.from_heatmaps(maps, np.ones((6, 1)), None, threshold)
    found = object_masks(maps, threshold, engine)
    np.testing.assert_array_equal(found, expected.masks)
    np.testing.assert_array_equal(boxes_of(found), expected.boxes)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_boxes_scale_as_in_the_library(data):
    width, height = (data.draw(st.integers(1, 300)) for _ in range(2))
    target = [data.draw(st.integers(1, 5000)) for _ in range(2)]
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = [x0, y0, data.draw(st.integers(x0, width - 1)), data.draw(st.integers(y0, height - 1))]
    found = scale_boxes(np.int32([box]), np.int32([width, height]), np.int32([target]))
    assert tuple(found[0].numpy()) == scale_box(box, (width, height), tuple(target))


def test_no_box_stays_none():
    none = boxes_of(np.zeros((1, 4, 4), bool))
    np.testing.assert_array_equal(scale_boxes(none, np.int32([4, 4]), np.int32([[9, 9]])), none)
