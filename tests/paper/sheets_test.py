import csv
import dataclasses

import numpy as np
import pytest

from fcam_tf.paper import sheets
from fcam_tf.paper.rows import pairs


@pytest.fixture
def study(study_of, finished, perfect):
    """Return a study whose method knows the masks, and whose F-CAM is the centre."""
    return study_of(perfect, finished)


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_boxes_found_and_failed_at_the_best_threshold(study, finished):
    table, *files = sheets.sheets(study, "fig10", pairs(["cam"]), ["tiny"])
    iou = {row.id: row.iou for row in finished.rows}
    ours = [row for row in rows_of(table) if row["row"] == "CAM* + F-CAM"]
    for row in ours:
        assert float(row["box_iou"]) == pytest.approx(iou[row["id"]])
        assert row["sheet"].endswith("found") == (iou[row["id"]] >= 0.5)
        assert not row["mask_iou"]
    assert {file.stem for file in files} == {row["sheet"] for row in ours}


def test_masks_at_a_given_threshold(study, finished):
    table, *_ = sheets.sheets(study, "fig11", pairs(["cam"]), ["tiny"], 0.25)
    shown = rows_of(table)
    assert {row["mask_threshold"] for row in shown} == {"0.25"}
    assert not any(row["box_iou"] for row in shown)
    for row in shown:
        index = finished.split.ids.index(row["id"])
        (scored,) = [s for s in finished.parts if s.index == index]
        false, true = scored.kept["PxAP"]
        wanted = true[250:].sum() / (true.sum() + false[250:].sum())
        if row["row"] == "CAM* + F-CAM":
            assert float(row["mask_iou"]) == pytest.approx(wanted)
        else:
            assert float(row["mask_iou"]) == 1  # it knows the masks


def test_a_sheet_that_no_photo_is_left_for_goes(study, capsys):
    stale = [study.out / f"fig11-tiny-failed.{ending}" for ending in ("jpg", "pdf")]
    for file in stale:
        file.write_text("of another threshold")
    everything = pairs(["cam"])[0]  # it knows the masks
    table, *_ = sheets.sheets(study, "fig11", [everything], ["tiny"], 0.25)
    assert "fig11: no photo of tiny counts as failed" in capsys.readouterr().out
    assert {row["sheet"] for row in rows_of(table)} == {"fig11-tiny-found"}
    assert not any(file.exists() for file in stale)


def test_figure_1_draws_the_same_photos_for_all_backbones(study):
    table, *files = sheets.sheets(study, "fig1", pairs(["cam", "layercam"]), ["tiny", "large"])
    shown = rows_of(table)
    first, second = (
        [r["id"] for r in shown if r["sheet"] == f"fig1-{b}"] for b in ("tiny", "large")
    )
    assert first == second
    assert len(set(first)) == sheets.PHOTOS
    assert [file.name for file in files[:2]] == ["fig1-tiny.jpg", "fig1-tiny.pdf"]


def test_a_sheet_has_the_pictures_of_each_map(finished):
    columns = [
        sheets._column("fig11", row, run, None)
        for row, run in zip(pairs(["cam"]), (finished, finished), strict=True)
    ]
    figure = sheets.draw_sheet(columns, [0, 1], "a")
    assert len(figure.axes) == 2 * (1 + 2 * 2)
    titles = [axes.get_title() for axes in figure.axes]
    peak = finished.metrics["details"]["PxAP"]["peak_threshold"]
    assert titles.count(f"+ F-CAM\nmask τ = {peak:.3f}") == 2
    assert figure.get_supxlabel() == "red: found, green: missed, blue: too much"


def test_photos_are_spread_over_those_of_a_kind():
    assert sheets._spread(np.arange(10)) == [0, 3, 6, 9]
    assert sheets._spread(np.arange(2)) == [0, 1]
    assert sheets._spread(np.arange(0)) == []


def test_truth_that_is_missing_is_said_before_anything_is_trained(study, monkeypatch, finished):
    bare = dataclasses.replace(finished.split, masks=None)
    monkeypatch.setattr(sheets, "load", lambda *_: bare)
    study.check = None  # not called
    with pytest.raises(ValueError, match="fig11 shows masks, but the test split"):
        sheets.sheets(study, "fig11", pairs(["cam"]), ["tiny"])


def test_a_photo_without_an_object_in_the_frame_is_neither_found_nor_missed(finished):
    column = sheets._column("fig11", pairs(["cam"])[0], finished, None)
    assert column.scores[3].kind
    nothing = dataclasses.replace(column.scores[3], mask_iou=None, pixel_ap=None, kind="")
    column.scores[3] = nothing
    shown = sheets.choose("fig11", [dataclasses.replace(column, scores=[nothing])])
    assert shown == {"found": [], "failed": []}
    few = [*column.scores[2:4]]
    groups = sheets.choose("fig11", [dataclasses.replace(column, scores=few)])
    assert sorted(groups["found"] + groups["failed"]) == [0]


@pytest.mark.parametrize("name", ["$x_{ a$", "50% & co", "птица", "\U0010fffd 鳥"])
def test_names_of_classes_in_any_script_and_no_formula(study, finished, monkeypatch, name):
    names = [name for _ in finished.split.class_names]
    split = dataclasses.replace(finished.split, class_names=tuple(names))
    monkeypatch.setattr(type(finished), "split", split)
    _, picture, _ = sheets.sheets(study, "fig1", pairs(["cam"]), ["tiny"])
    assert picture.stat().st_size
