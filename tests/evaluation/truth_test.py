import dataclasses

import numpy as np
import pytest

from fcam_tf.evaluation.truth import check_split, read_boxes, read_truth


def test_boxes_and_masks_come_into_the_frame(split):
    truth = read_truth(split, 0, 224)
    assert truth.mask.shape == (224, 224)
    np.testing.assert_array_equal(truth.boxes, read_boxes(split, 0, 224))
    rows, columns = np.nonzero(truth.mask == 1)
    x0, y0 = truth.boxes[:, 0].min(), truth.boxes[:, 1].min()
    assert abs(columns.min() - x0) <= 5
    assert abs(rows.min() - y0) <= 5


def test_a_box_is_truncated(split):
    # 4 * 224 / 35 = 25.6 and 2 * 224 / 10 = 44.8 (the reference's resize_bbox truncates).
    boxes = (np.array([[1, 2, 4, 3]]),)
    one = dataclasses.replace(split.subset([0]), boxes=boxes, sizes=np.array([[35, 10]]))
    assert read_boxes(one, 0, 224).tolist() == [[6, 44, 25, 67]]


def test_splits_without_truth_are_refused(split):
    none = dataclasses.replace(split, boxes=None, masks=None)
    with pytest.raises(ValueError, match="split 'test' has neither boxes nor masks"):
        check_split(none)
    holes = [split.boxes[0], np.zeros((0, 4), int), *split.boxes[2:]]
    with pytest.raises(ValueError, match=rf"1 of 12 images .* have no box: {split.ids[1]}\."):
        check_split(dataclasses.replace(split, boxes=tuple(holes)))
    with pytest.raises(ValueError, match=r"12 of 12 images .* have no mask: .*, "):
        check_split(dataclasses.replace(split, masks=((),) * 12))


def test_a_box_that_is_none_names_its_image(split):
    boxes = (np.array([[9, 2, 4, 3]]),)
    with pytest.raises(ValueError, match=f"truth of {split.ids[0]}"):
        read_truth(dataclasses.replace(split.subset([0]), boxes=boxes), 0, 224)
