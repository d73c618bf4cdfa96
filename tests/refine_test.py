import numpy as np
import pytest

from fcam_tf import ops, refine


@pytest.fixture(scope="module")
def halves():
    """Return an image that is black left and white right of its middle, and a map that is late."""
    image = np.zeros((1, 40, 60, 3), np.uint8)
    image[:, :, 30:] = 255
    coarse = np.zeros((1, 40, 60), np.float32)
    coarse[:, :, 36:] = 1
    coarse[:, :, 24:36] = np.linspace(0.1, 0.9, 12)
    return image, coarse


def test_a_map_follows_the_edge_of_the_image(halves):
    image, coarse = halves
    refined = refine.refine_maps(coarse, image)
    assert refined.shape == coarse.shape
    assert refined.dtype == np.float32
    assert refined[..., :30].max() < 0.5 < refined[..., 30:].min()
    assert coarse[..., 30:].min() < 0.6


def test_is_the_preset_of_dense_crf(halves):
    image, coarse = halves
    sigma_xy = 100 / 224 * np.sqrt(40 * 60)
    expected = ops.dense_crf(
        np.stack([1 - coarse, coarse], -1), image, bilateral=(2, sigma_xy, 15), iterations=5
    )
    np.testing.assert_allclose(refine.refine_maps(coarse, image), expected[..., 1], rtol=1e-4)


def test_the_size_of_a_photo_matters_little(halves):
    image, coarse = halves
    large = refine.refine_maps(coarse, image.repeat(3, 1).repeat(3, 2))
    assert large.shape == (1, 120, 180)
    np.testing.assert_allclose(large[:, 1::3, 1::3], refine.refine_maps(coarse, image), atol=0.05)


def test_grey_images_and_maps_with_nan(halves):
    image, coarse = halves
    hole = np.where(coarse == 1, np.nan, coarse)
    found = refine.refine_maps(hole, image[..., :1])
    np.testing.assert_array_equal(found, refine.refine_maps(np.nan_to_num(hole), image[..., :1]))
    assert np.isfinite(found).all()


def test_a_map_of_zeros_shows_nothing(halves):
    assert refine.refine_maps(np.zeros((1, 5, 5)), halves[0]).max() < 1 / 255


@pytest.mark.parametrize(
    ("maps", "images", "message"),
    [
        (np.full((1, 5, 5), 200, np.uint8), np.zeros((1, 8, 8, 3)), r"in \[0, 1\].*200 to 200"),
        (np.zeros((5, 5)), np.zeros((1, 8, 8, 3)), r"`maps` must be \(B, h, w\).*\(5, 5\)"),
        (np.zeros((1, 5, 5)), np.zeros((8, 8, 3)), r"`images` \(B, H, W, 3 or 1\).*\(8, 8, 3\)"),
        (np.zeros((2, 5, 5)), np.zeros((1, 8, 8, 3)), r"\(2, 5, 5\) and images of shape \(1, 8"),
    ],
)
def test_what_are_no_maps_of_these_images(maps, images, message):
    with pytest.raises(ValueError, match=message):
        refine.refine_maps(maps, images)


def test_masks_are_maps_too(halves):
    image, coarse = halves
    mask = coarse > 0.5
    expected = refine.refine_maps(mask.astype(np.float32), image)
    np.testing.assert_array_equal(refine.refine_maps(mask, image), expected)


def test_images_that_look_like_fractions_are_warned_of(halves, monkeypatch):
    looked = []
    monkeypatch.setattr(refine, "expect_raw_pixels", looked.append)
    refine.refine_maps(halves[1], halves[0] / 510)
    assert looked[0].max() == 0.5
