import io

import numpy as np

from fcam_tf.paper.panels import BASELINE, OURS, PAIR, Curve, Place, draw_panels
from fcam_tf.paper.rows import pairs

CAM, FCAM = pairs(["cam"])


def curve(row, seed, y, x=(0, 1), **more):
    return Curve("tiny", row, seed, "", np.array(x, float), np.array(y, float), **more)


def drawn(curves):
    figure, panels = draw_panels(
        curves,
        lambda each: Place(each.method, each.backbone, each.side),
        PAIR,
        title="a",
        xlabel="x",
        ylabel="y",
    )
    assert [*panels] == [("CAM*", "tiny")]
    return figure, panels["CAM*", "tiny"]


def test_the_line_is_the_mean_in_a_band_of_one_deviation():
    figure, axes = drawn([curve(CAM, 0, [1, 2]), curve(CAM, 1, [3, 2]), curve(FCAM, 0, [5, 5])])
    baseline, ours = axes.lines
    assert baseline.get_xydata().tolist() == [[0, 2], [1, 2]]
    assert (baseline.get_color(), ours.get_color()) == ("#e07b00", "#1b7f3b")
    (band,) = axes.collections
    edges = band.get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose((edges.min(), edges.max()), (2 - 2**0.5, 2 + 2**0.5))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == [BASELINE, OURS]


def test_curves_of_other_places_each_have_a_line():
    _, axes = drawn([curve(CAM, 0, [1, 2]), curve(CAM, 1, [3, 2, 1], (0, 1, 2))])
    assert [len(line.get_xdata()) for line in axes.lines] == [2, 3]


def test_a_marked_point_is_a_dot():
    _, axes = drawn([curve(CAM, 0, [1, 2], mark=1)])
    assert axes.lines[-1].get_marker() == "o"
    assert (axes.lines[-1].get_xdata().item(), axes.lines[-1].get_ydata().item()) == (1, 2)


def test_dollar_signs_in_names_are_no_formula():
    figure, _ = draw_panels(
        [curve(CAM, 0, [1, 2])],
        lambda each: Place("$a_{1 $", "b", each.side),
        PAIR,
        title="$x_{ $y, \U0010fffd, test",
        xlabel="x",
        ylabel="y",
    )
    figure.savefig(io.BytesIO())  # which would fail, or be without them
    assert not figure._suptitle.get_parse_math()
    assert figure.get_suptitle() == "$x_{ $y, U+10FFFD , test"


def test_a_title_is_no_wider_than_the_figure():
    title = "tiny100, test, Smooth-GradCAM++, at least 2 of 3 seeds: precision and recall of pixels"
    figure, _ = draw_panels(
        [curve(CAM, 0, [1, 2])],
        lambda each: Place(each.method, each.backbone, each.side),
        PAIR,
        title=title,
        xlabel="x",
        ylabel="y",
    )
    figure.draw_without_rendering()
    assert figure.get_suptitle().replace("\n", " ") == title
    extent = figure._suptitle.get_window_extent()
    assert 0 <= extent.x0 <= extent.x1 <= figure.bbox.width
