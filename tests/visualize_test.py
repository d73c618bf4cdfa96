import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcam_tf import visualize
from fcam_tf.visualize import MAX_SIDE, MIN_SIDE, overlay, resize_heatmap

PLATE, LINE = (20, 20, 20), (255, 255, 255)


def grey(width, height):
    return np.full((height, width, 3), 128, np.uint8)


def where(picture, colour):
    """First and last column and row of a colour."""
    rows, columns = np.nonzero((picture == colour).all(-1))
    return columns.min(), rows.min(), columns.max(), rows.max()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 64), (640, 640)),
        ((64, 48), (640, 480)),
        ((640, 480), (640, 480)),
        ((1280, 100), (1280, 160)),  # with a margin for the caption
        ((100, 1000), (320, 1000)),
        ((10_000, 5_000), (1280, 640)),
        ((1, 1), (640, 640)),
    ],
)
def test_size(size, expected):
    picture = overlay(grey(*size), np.zeros((7, 7)), [(0, 0, 6, 6)], "cat", 0.5)
    assert picture.shape == (expected[1], expected[0], 3)
    assert picture.dtype == np.uint8


def test_photo_shows_through_and_heat_is_seen():
    photo = grey(640, 640)
    photo[::2] = 90  # stripes
    heatmap = np.zeros((2, 2), np.float32)
    heatmap[0, 0] = 1
    picture = overlay(photo, heatmap).astype(int)
    for y, x in ((40, 40), (600, 600)):  # the hottest and the coldest place
        assert abs(picture[y, x] - picture[y + 1, x]).max() >= 8
    hot, cold = picture[40, 40], picture[600, 600]
    assert hot[0] - hot[2] > 30  # yellow
    assert np.ptp(cold) < 3  # grey as the photo


def test_heat_brightens_evenly():
    heatmap = np.linspace(0, 1, 640, dtype=np.float32)[None].repeat(640, 0)
    luminance = overlay(grey(640, 640), heatmap)[320] @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(luminance[320:]) > -1.5).all()  # rounding aside
    assert luminance[639] - luminance[320] > 50


def test_box_lies_on_the_heat_maps_pixels():
    picture = overlay(grey(640, 320), np.zeros((10, 10)), [(2, 3, 5, 6)])
    # Pixels 2..5 of 10 are columns 128..383 of 640; the light line lies one pixel inside.
    assert where(picture, LINE) == (129, 97, 382, 222)


def test_tiny_box_is_drawn_around_what_it_holds():
    heatmap = np.zeros((100, 100))
    heatmap[50, 50] = 1
    picture = overlay(grey(640, 640), heatmap, [(50, 50, 50, 50)])
    x0, y0, x1, y1 = where(picture, LINE)
    assert x0 < 320
    assert y0 < 320
    assert min(x1, y1) > 326
    assert not (picture[320:326, 320:326] == LINE).all(-1).any()


def check_plate(width, height, box, label):
    bare = overlay(grey(width, height), np.zeros((14, 14)), [box])
    picture = overlay(grey(width, height), np.zeros((14, 14)), [box], label, 0.874)
    changed = np.nonzero((picture != bare).any(-1))
    left, right = changed[1].min(), changed[1].max()
    top, bottom = changed[0].min(), changed[0].max()
    assert bottom - top >= 15  # pixels: legible
    plate = picture[top : bottom + 1, left : right + 1]
    for edge in (plate[0], plate[-1], plate[:, 0], plate[:, -1]):  # text inside the plate
        assert (edge == PLATE).all()
    assert (plate == LINE).all(-1).any()


LABELS = ("", "a", "tiger cat", "größe, кошка " * 20, "猫\n" * 9, "قطة " * 40)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("box", [(0, 0, 13, 13), (9, 12, 13, 13)])
def test_plate_and_text_are_not_cut_off(box, label):
    check_plate(64, 30, box, label)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_plate_and_text_are_never_cut_off(data):
    width, height = data.draw(st.tuples(*[st.sampled_from([1, 30, 64, 700, 2000])] * 2))
    side = st.integers(0, 13)
    x0, y0 = data.draw(side), data.draw(side)
    box = x0, y0, data.draw(st.integers(x0, 13)), data.draw(st.integers(y0, 13))
    check_plate(width, height, box, data.draw(st.sampled_from(LABELS)))


@pytest.fixture
def plates(monkeypatch):
    """Where the plates of pictures were written, and what was."""
    found = []

    class Watched(visualize._Plates):
        def write(self, edges, label, ending="", number=""):
            super().write(edges, label, ending, number)
            found.append((number + label + ending, self._taken[-1]))

    monkeypatch.setattr(visualize, "_Plates", Watched)
    return found


def test_several_boxes_are_numbered(plates):
    boxes = [(0, 2, 3, 6), (5, 1, 8, 4), (5, 6, 9, 9)]
    picture = overlay(grey(640, 640), np.zeros((10, 10)), boxes, "cat", 0.5)
    for x, y in ((1, 300), (321, 200), (321, 500)):  # the line of each, one pixel inside
        assert (picture[y, x] == LINE).all()
    texts, places = zip(*plates, strict=True)
    assert texts == ("1 cat 50%", "2", "3")
    # Each stands on its box.
    assert [(x0, y1 + 1) for x0, _, _, y1 in places] == [(0, 128), (320, 64), (320, 384)]


def test_plates_do_not_hide_each_other(plates):
    boxes = [(2, 2, 8, 8), (2, 2, 6, 7), (2, 2, 5, 5)]
    overlay(grey(640, 640), np.zeros((10, 10)), boxes, "cat", 0.5)
    places = [place for _, place in plates]
    for i, (a0, b0, a1, b1) in enumerate(places):
        assert all(x0 > a1 or x1 < a0 or y0 > b1 or y1 < b0 for x0, y0, x1, y1 in places[:i])


def test_score_survives_a_long_label():
    def plate(label, score):
        return overlay(grey(320, 320), np.zeros((4, 4)), (), label, score)

    assert (plate("x" * 500, 0.12) != plate("x" * 500, 0.98)).any()


def test_without_caption_and_box_only_heat_is_drawn():
    photo = grey(640, 480)
    np.testing.assert_array_equal(
        overlay(photo, np.zeros((3, 3))), overlay(photo, np.zeros((9, 9)))
    )


def test_resize_heatmap():
    assert resize_heatmap(np.array([[0.25]]), 3, 2).tolist() == [[0.25] * 3] * 2
    # Half-pixel centres: at 1/4 and 3/4 of the way between 0 and 1.
    np.testing.assert_allclose(resize_heatmap(np.array([[0, 1]]), 4, 1), [[0, 0.25, 0.75, 1]])
    np.testing.assert_allclose(resize_heatmap(np.eye(2), 1, 1), [[0.5]])


def test_sides():
    assert 64 < MIN_SIDE < MAX_SIDE < 10_000
