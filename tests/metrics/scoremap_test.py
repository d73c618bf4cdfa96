import cv2
import numpy as np
import pytest

from fcam_tf.metrics import normalize_cam


@pytest.mark.parametrize("size", [(224, 224), (20, 33), (5, 3)])
def test_cubic_is_opencv_s(size):
    cam = np.random.default_rng(0).normal(size=(7, 11))
    want = cv2.resize(cam, size[::-1], interpolation=cv2.INTER_CUBIC)
    want = (want - want.min()) / (want - want.min()).max()
    np.testing.assert_allclose(normalize_cam(cam, size), want, rtol=0, atol=1e-9)


def test_size_none_only_rescales():
    assert normalize_cam([[-2.0, 0.0, 2.0]], None).tolist() == [[0, 0.5, 1]]


@pytest.mark.parametrize("cam", [[[np.nan, 1.0]], [[np.inf, 1.0]], [[0.1, 0.1]], [[3.0]]])
def test_a_cam_without_information_gives_zeros(cam):
    result = normalize_cam(cam, (4, 6))
    assert result.shape == (4, 6)
    assert not result.any()


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="one map at a time"):
        normalize_cam(np.zeros((1, 7, 7)))
    with pytest.raises(ValueError, match="`size` must be positive"):
        normalize_cam(np.zeros((7, 7)), (0, 5))
