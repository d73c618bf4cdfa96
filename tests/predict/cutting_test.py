import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco
from scipy import ndimage

from fcam_tf.localization import Region, scale_box
from fcam_tf.masks import box_of
from fcam_tf.predict import Files, Localization
from fcam_tf.predict.cutting import alpha_of, coco_rle, mask_of, soft_mask, write_object
from fcam_tf.predict.files import PhotoFiles


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def localized(*spots, shape=(4, 8), threshold=0.5):
    """Return a map with a level on each spot (rows, columns), and its regions."""
    heatmap = np.zeros(shape)
    for rows, columns, level in spots:
        heatmap[rows, columns] = level
    found = Localization.from_heatmaps(heatmap[None], [[1.0]], None, threshold)[0]
    return found, found.regions(min_area=0)


LEFT = (slice(1, 3), slice(2, 5), 1.0)
RIGHT = (slice(0, 1), slice(7, 8), 0.8)


@pytest.mark.parametrize("size", [(8, 4), (80, 40), (800, 600), (4, 2), (37, 13)])
def test_a_rectangle_fills_its_box_at_any_size(size):
    _, (region, _) = localized(LEFT, RIGHT)
    box, alpha = alpha_of(region, (8, 4), size)
    x0, y0, x1, y1 = box
    assert alpha.shape == (y1 - y0 + 1, x1 - x0 + 1)
    mask = mask_of(region, (8, 4), size)
    assert mask.shape == size[::-1]
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 1}
    outside = mask.copy()
    outside[y0 : y1 + 1, x0 : x1 + 1] = 0
    assert not outside.any()
    if size[0] > 8:  # rounded by no more than half a pixel of the map at each corner
        assert mask.mean() == pytest.approx(6 / 32, abs=0.03)
    assert box_of(mask == 1) == box


def test_a_mask_follows_its_region_and_not_its_box():
    found, (region,) = localized(
        (slice(0, 4), slice(0, 2), 1.0), (slice(2, 4), slice(0, 6), 1.0), shape=(4, 8)
    )
    mask = mask_of(region, (8, 4), (80, 40))
    assert mask[5, 5] == mask[35, 55] == 1
    assert mask[5, 40] == 0  # within the box
    np.testing.assert_array_equal(mask_of(region, (8, 4), (8, 4)), found.masks)


THIN = [(1, 3000), (3000, 1), (1, 1), (2, 977), (977, 2), (223, 225), (225, 223), (1152, 864)]


@pytest.mark.parametrize("size", THIN)
def test_box_and_mask_end_at_the_same_pixels_of_photos_of_any_shape(size):
    levels = ndimage.gaussian_filter(np.random.default_rng(0).random((224, 224)), 3)
    found = Localization.from_heatmaps(levels[None] - levels.min(), [[1.0]], None, 0.55)[0]
    regions = found.regions(min_area=0)
    assert len(regions) > 20
    for region in regions:
        box = scale_box(region.box, (224, 224), size)
        assert 0 <= box[0] <= box[2] < size[0]
        assert 0 <= box[1] <= box[3] < size[1]
        assert box_of(mask_of(region, (224, 224), size) == 1) == box


def test_a_tip_reaches_to_the_end_of_the_box():
    # The last cell is connected by a corner; each cell is four by four pixels.
    mask = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]], bool)
    region = Region((0, 0, 2, 2), mask, 5 / 9, 1.0)
    found = mask_of(region, (3, 3), (12, 12))
    assert found.any(0).all()
    assert found.any(1).all()
    assert found[8:, 8:].sum() < 16  # rounded


def test_a_pixel_of_a_large_map_is_not_lost_in_a_small_photo():
    _, (region,) = localized((slice(50, 51), slice(70, 71), 1.0), shape=(100, 100))
    mask = mask_of(region, (100, 100), (10, 10))
    assert np.argwhere(mask).tolist() == [[5, 7]]
    assert not mask_of(None, (100, 100), (10, 10)).any()


def test_soft_masks_share_the_map_among_the_regions():
    found, regions = localized(LEFT, RIGHT, (slice(0, 4), slice(0, 1), 0.4))
    whole = np.uint8(255 * found.heatmaps.astype(float))
    left, right = (soft_mask(found, region, (8, 4)) for region in regions)
    np.testing.assert_array_equal(np.maximum(left, right), whole)
    assert not (left.astype(bool) & right.astype(bool)).any()
    assert left[:, 0].tolist() == [102] * 4  # below the threshold, and nearest to this one
    assert right[0, 7] == 204
    assert soft_mask(found, regions[0], (16, 8)).shape == (8, 16)
    nothing, _ = localized()
    assert not soft_mask(nothing, None, (16, 8)).any()


def test_run_lengths_are_those_of_coco():
    # Columns of three, from the top left: 0 1 0, 0 1 1.
    mask = np.array([[0, 0], [1, 1], [0, 1]], np.uint8)
    found = coco_rle(mask)
    assert json.loads(json.dumps(found)) == found
    assert found["size"] == [3, 2]
    # Runs of 1, 1, 2, 2: small numbers as one character from "0" on, the fourth less the second.
    assert found["counts"] == "1121"
    np.testing.assert_array_equal(coco.decode(found), mask)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (40, 80, 3), np.uint8)


def test_what_is_written_of_an_object(tmp_path, pixels):
    found, regions = localized(LEFT, RIGHT)
    files = PhotoFiles(tmp_path, "a", Files(mask=["png", "soft", "rle"], crops=True, cutouts=True))
    first, second = (
        write_object(files, found, region, (160, 80), pixels, number=n)
        for n, region in enumerate(regions, start=1)
    )
    assert {k: v for k, v in second.items() if k != "rle"} == {
        "mask": "a_mask_2.png",
        "soft_mask": "a_soft_2.png",
        "crop": "a_crop_2.jpg",
        "cutout": "a_cutout_2.png",
    }
    mask = mask_of(regions[0], (8, 4), (160, 80))
    np.testing.assert_array_equal(read(tmp_path / first["mask"]), 255 * mask)
    np.testing.assert_array_equal(coco.decode(first["rle"]), mask)
    assert read(tmp_path / first["soft_mask"]).shape == (80, 160)
    with Image.open(tmp_path / first["crop"]) as crop:
        assert (crop.format, crop.size) == ("JPEG", (30, 20))
    with Image.open(tmp_path / first["cutout"]) as cutout:
        assert cutout.mode == "RGBA"
        values = np.asarray(cutout)
    # Of the pixels that there are, ten to one of the map.
    np.testing.assert_array_equal(values[..., :3], pixels[10:30, 20:50])
    alpha = alpha_of(regions[0], (8, 4), (80, 40))[1]
    np.testing.assert_array_equal(values[..., 3], np.rint(alpha))


def test_nothing_was_found(tmp_path, pixels):
    found, _ = localized()
    wanted = Files(mask=["png", "rle"], crops=True, cutouts=True)
    entry = write_object(PhotoFiles(tmp_path, "a", wanted), found, None, (80, 40), pixels, number=1)
    assert (entry["crop"], entry["cutout"]) == (None, None)
    assert not read(tmp_path / entry["mask"]).any()
    assert not coco.decode(entry["rle"]).any()


def test_only_what_is_wanted(tmp_path, pixels):
    found, (region, _) = localized(LEFT, RIGHT)
    files = PhotoFiles(tmp_path, "a", Files())
    assert write_object(files, found, region, (80, 40), pixels, number=1) == {}
    assert not list(tmp_path.iterdir())
