import numpy as np
import pytest
from PIL import Image

from fcam_tf.data import Split
from fcam_tf.paper import downscale
from fcam_tf.paper.downscale import Row, draw_curve, draw_examples, scaled_masks, simulate


def disc(side=224, radius=70, centre=(100, 120)):
    y, x = np.mgrid[:side, :side]
    return ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2).astype(np.uint8)


@pytest.fixture
def split_of(tmp_path):
    """Return a function that writes masks, and ignored pixels where given, as a split."""

    def write(masks, ignored=None):
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        names = [f"{number}.png" for number in range(len(masks))]
        for folder, pictures in (("masks", masks), ("ignored", ignored or masks)):
            (root / folder).mkdir(parents=True)
            for name, picture in zip(names, pictures, strict=True):
                Image.fromarray(np.uint8(picture) * 255).save(root / folder / name)
        for name, mask in zip(names, masks, strict=True):
            Image.fromarray(np.uint8(mask) * 90).convert("RGB").save(root / name)
        return Split(
            name="test",
            ids=tuple(names),
            paths=tuple(root / name for name in names),
            labels=np.zeros(len(names), np.int64),
            class_names=("a",),
            masks=tuple((root / "masks" / name,) for name in names),
            ignores=tuple(root / "ignored" / name if ignored else None for name in names),
        )

    return write


def bilinear(new, old):
    """Return the (new, old) weights of interpolation with half-pixel centres."""
    weights = np.zeros((new, old))
    for i in range(new):
        position = min(max((i + 0.5) * old / new - 0.5, 0), old - 1)
        low = int(position)
        weights[i, low] += 1 - (position - low)
        weights[i, min(low + 1, old - 1)] += position - low
    return weights


def triangle(new, old):
    """Return the (new, old) weights of a triangle as wide as two new pixels: antialiasing."""
    scale = old / new
    distance = np.abs((np.arange(new)[:, None] + 0.5) * scale - (np.arange(old) + 0.5)) / scale
    weights = np.maximum(1 - distance, 0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("down", "antialias"), [(bilinear, False), (triangle, True)])
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_masks_are_scaled_as_by_the_oracle(scale, down, antialias):
    truth = (np.random.default_rng(0).random((24, 48)) < 0.4).astype(np.uint8)
    small, large = scaled_masks(truth, scale, antialias=antialias)
    rows, columns = down(24 // scale, 24), down(48 // scale, 48)
    expected = rows @ truth @ columns.T
    np.testing.assert_allclose(small, expected, atol=1e-6)
    expected = bilinear(24, 24 // scale) @ expected @ bilinear(48, 48 // scale).T
    np.testing.assert_allclose(large, expected, atol=1e-6)
    assert small.dtype == large.dtype == np.float32
    assert 0 <= large.min() <= large.max() <= 1


def test_ignored_pixels_are_scaled_as_background():
    truth = np.full((4, 4), 255, np.uint8)
    truth[:2] = 1
    small, large = scaled_masks(truth, 2, antialias=False)
    np.testing.assert_array_equal(small, [[1, 1], [0, 0]])
    np.testing.assert_allclose(large[:, 0], [1, 0.75, 0.25, 0])


@pytest.mark.parametrize("scale", [0, 5])
def test_factors_that_leave_a_rest_are_refused(scale):
    with pytest.raises(ValueError, match=f"4x8 pixels. Received: {scale}"):
        scaled_masks(np.zeros((4, 8), np.uint8), scale, antialias=False)


def test_a_factor_of_one_changes_nothing(split_of):
    noise = np.random.default_rng(0).random((2, 32, 32)) < 0.3
    assert simulate(split_of(noise), [1], 32) == [Row(1, 32, 100.0, 100.0)]


def test_coarser_masks_of_a_disc_score_less(split_of):
    rows = simulate(split_of([disc(), disc(radius=40)]))
    assert [row.scale for row in rows] == list(downscale.SCALES)
    assert [row.side for row in rows] == [224, 112, 56, 32, 28, 16, 14, 8, 7]
    # By an odd factor only the middle pixel counts, so that 7 may lose more than 8 does.
    even = [row.pxap for row in rows if row.scale in (1, 2, 4, 8, 16, 32)]
    for values in (even, [row.antialiased for row in rows]):
        assert values[0] == 100
        assert values == sorted(set(values), reverse=True)
        assert values[-1] < 99.9


def test_by_hand(split_of):
    # Rows 0 and 1 of four are the object, scaled to 1, 0.75, 0.25 and 0; one more object pixel
    # lies in the last row, where nothing of it is left.
    mask = np.zeros((4, 4))
    mask[:2] = mask[3, 0] = 1
    small, large = scaled_masks(np.uint8(mask), 4, antialias=False)
    assert small == [[0.5]]  # of the four in the middle, two
    assert (large == 0.5).all()
    (row,) = simulate(split_of([mask]), [4], 4)
    assert row.pxap == pytest.approx(100 * 9 / 16)  # every pixel at once: precision is the share


def test_ignored_pixels_do_not_count(split_of):
    mask, ignored = np.zeros((2, 32, 32), bool)
    mask[11:24, 11:24] = ignored[4:28, 4:28] = True  # a mask wins over what is ignored
    (row,) = simulate(split_of([mask]), [4], 32)
    assert row.pxap < 100
    # Further from the object than that, the scaled mask is 0.
    (row,) = simulate(split_of([mask], [ignored]), [4], 32)
    assert row.pxap == 100


def test_masks_are_needed(split_of):
    split = split_of([disc(32, 8, (16, 16))])
    bare = Split("val", split.ids, split.paths, split.labels, split.class_names)
    for call in (lambda: simulate(bare, [1], 32), lambda: draw_examples(bare, 0, [1], 32)):
        with pytest.raises(ValueError, match=r"`split` must have masks\. Received: split 'val'"):
            call()


def test_the_first_mask_with_an_object(split_of):
    speck = np.zeros((64, 64), np.uint8)
    speck[1, 1] = 1  # not among the pixels that a frame of half the side takes
    split = split_of([0 * speck, speck, disc(64, 8, (32, 32))])
    assert downscale.first_with_object(split, 64) == 1
    assert downscale.first_with_object(split, 32) == 2
    assert downscale.first_with_object(split_of([speck]), 32) == 0


ROWS = [Row(1, 224, 100.0, 100.0), Row(8, 28, 99.9, 99.8), Row(32, 7, 98.0, 97.5)]


def test_the_curve_shows_rows_and_methods():
    figure = draw_curve(ROWS, {"LayerCAM": 78.19, "F-CAM": 87.21}, "3 seeds")
    (axes,), (legend,) = figure.axes, figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["true mask", "true mask, antialiased", "F-CAM: 87.2", "LayerCAM: 78.2"]
    plain, smooth, *lines = axes.lines
    assert plain.get_xydata().tolist() == [[1, 100], [8, 99.9], [32, 98]]
    assert smooth.get_ydata().tolist() == [100, 99.8, 97.5]
    assert [line.get_ydata()[0] for line in lines] == [87.21, 78.19]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1\n224", "8\n28", "32\n7"]
    assert axes.get_title() == "True masks scaled down by z and back up; methods: 3 seeds"
    (axes,) = draw_curve(ROWS, {}).axes
    assert axes.get_title() == "True masks scaled down by z and back up"


def test_lines_of_methods_can_be_told_apart():
    figure = draw_curve(ROWS, {str(number): 50 + number for number in range(28)})
    styles = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(styles) == 2 + 28


def test_examples_show_each_factor_with_its_score(split_of):
    mask = disc(32, 9, (15, 17))
    figure = draw_examples(split_of([1 - mask, mask]), 1, [1, 4], 32)
    titles = [axes.get_title() for axes in figure.axes]
    (row,) = simulate(split_of([mask]), [4], 32)
    above = ["z = 1\n32x32 pixels", "z = 4\n8x8 pixels"]
    assert titles[:3] == ["photo", *above]
    assert titles[3:6] == [
        "true mask\n(grey: ignored)",
        "PxAP\n100.00 %",
        f"PxAP\n{row.pxap:.2f} %",
    ]
    assert titles[-1] == f"PxAP\n{row.antialiased:.2f} %"
    shown = [axes.images[0].get_array() for axes in figure.axes[2::3]]
    expected = [x for smooth in (False, True) for x in scaled_masks(mask, 4, antialias=smooth)]
    for picture, wanted in zip(shown, expected, strict=True):
        np.testing.assert_array_equal(picture, wanted)
    assert [axes.get_ylabel() for axes in figure.axes[1::3]] == [
        *("scaled down", "and back up", "antialiased,\nscaled down", "and back up")
    ]
