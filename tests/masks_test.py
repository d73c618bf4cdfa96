import numpy as np
import pytest

from fcam_tf.masks import box_of, join_masks, resize_mask


def test_box_of_a_mask():
    mask = np.zeros((5, 7), bool)
    assert box_of(mask) == (0, 0, -1, -1)
    mask[1:3, 2:6] = True
    assert box_of(mask) == (2, 1, 5, 2)


def test_join_masks():
    a, b = np.array([[9, 0, 0, 0]]), np.array([[0, 255, 0, 0]])
    ignore = np.array([[0, 255, 255, 0]])
    assert join_masks([a, b], ignore).tolist() == [[1, 1, 255, 0]]
    assert join_masks([a]).tolist() == [[1, 0, 0, 0]]
    assert join_masks([a, b], ignore, size=(2, 2)).tolist() == [[1, 255], [1, 255]]
    with pytest.raises(ValueError, match="empty"):
        join_masks([])
    with pytest.raises(ValueError, match="differ"):
        join_masks([a, b.T])
    with pytest.raises(ValueError, match="`ignore` must have the shape"):
        join_masks([a], ignore.T)


def test_resize_mask_takes_the_pixel_opencv_takes():
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = rng.integers(0, 256, rng.integers(1, 90, 2)).astype(np.uint8)
        height, width = rng.integers(1, 90, 2)
        want = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
        np.testing.assert_array_equal(resize_mask(mask, (height, width)), want)
    with pytest.raises(ValueError, match="`mask` must be"):
        resize_mask(mask, (0, 4))
