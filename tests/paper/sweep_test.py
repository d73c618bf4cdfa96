from types import SimpleNamespace

from fcam_tf.paper.cells import Cell
from fcam_tf.paper.rows import vary
from fcam_tf.paper.sweep import NEGATIVES, Point, draw, points_of, sweep


def test_a_point_holds_the_scores_of_all_seeds():
    rows = vary([], "loss.negative_fraction=0.1,0.3")[1:]
    found = {cell: 10.0 * (1 + cell.seed) for cell in rows[0].cells("tiny", 2)}
    assert points_of(rows, ["tiny"], 2, found) == [Point("tiny", "CAM*", "0.1", (10.0, 20.0))]
    assert next(iter(found)) == Cell(
        "tiny", "cam", 0, "loss.negative_fraction=0.1", ("loss.negative_fraction=0.1",)
    )


def test_the_curve_goes_through_the_means():
    points = [Point("tiny", "CAM*", "0.1", (10.0, 20.0)), Point("tiny", "CAM*", "0.3", (40.0,))]
    (axes,) = draw(points, NEGATIVES.partition("=")[0], "val PxAP, %", "pets, $5").axes
    assert axes.lines[0].get_xydata().tolist() == [[0.1, 15.0], [0.3, 40.0]]
    dots = [dot for found in axes.collections for dot in found.get_offsets().tolist()]
    assert dots == [[0.1, 10.0], [0.1, 20.0], [0.3, 40.0]]
    assert axes.get_xlabel() == "n- (negative_fraction)"
    assert axes.get_title() == "pets, $5"
    assert not axes.title.get_parse_math()


def test_values_that_are_no_numbers_stand_in_a_row():
    points = [Point("tiny", "CAM*", name, (1.0,)) for name in ("online", "stored")]
    (axes,) = draw(points, "cams", "val PxAP, %", "pets, $5").axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["online", "stored"]


def test_values_in_any_order_and_curves_of_any_number():
    names = [f"net{number}" for number in range(7)]
    points = [Point(name, "CAM*", value, (1.0,)) for name in names for value in ("2", "10", "1")]
    (axes,) = draw(points, "loss.size", "val PxAP, %", "pets, $5").axes
    assert axes.lines[0].get_xdata().tolist() == [1, 2, 10]
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 7


def test_the_title_says_of_how_many_seeds_it_is(tmp_path, monkeypatch):
    run = SimpleNamespace(
        settings={"recipe": {"select": "PxAP"}}, chosen={"epoch": 1, "val_PxAP": 50.0}
    )
    study = SimpleNamespace(
        root="birds", out=tmp_path, tell=print, check=lambda _: None, missing=[], fcam=lambda _: run
    )
    titles = []

    def noted(points, key, score, title):
        titles.append((score, title))
        return draw(points, key, score, title)

    monkeypatch.setattr("fcam_tf.paper.sweep.draw", noted)
    sweep(study, "fig2", vary([], "loss.crf=0,1"), ["tiny"], 2)
    assert titles == [("val PxAP, %", "birds, val, 2 seeds")]
