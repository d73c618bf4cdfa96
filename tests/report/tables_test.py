import copy

import pytest

from fcam_tf.report import tables


def cells(table, head):
    return [row[list(table.heads).index(head)] for row in table.rows]


def test_tiles_leave_out_what_is_not_known(finished, perfect):
    names = [tile.name for tile in tables.tiles(finished, None)]
    assert names == ["MaxBoxAcc", "MaxBoxAccV2", "PxAP"]  # the Center baseline knows no classes
    assert all(tile.change == "" for tile in tables.tiles(finished, None))
    change = tables.tiles(perfect, finished)[0].change
    before, after = (run.metrics["MaxBoxAcc"] for run in (finished, perfect))
    assert change == f"{after - before:+.1f}"


def test_comparison(perfect, finished):
    table = tables.comparison(perfect, [finished])
    rows = {row[0]: row[1:] for row in table.rows}
    before, after = (run.metrics["PxAP"] for run in (finished, perfect))
    assert rows["PxAP"] == [f"{after:.2f}", f"{after - before:+.2f}", f"{before:.2f}"]
    gains = sum(a.quality > b.quality for a, b in zip(perfect.rows, finished.rows, strict=True))
    assert rows["images with higher IoU"] == [str(gains), "", ""]


def test_a_run_without_a_metric_that_came_later_can_be_compared(perfect, finished):
    older = copy.copy(finished)
    older.metrics = {key: value for key, value in finished.metrics.items() if key != "PxAP"}
    rows = {row[0]: row[1:] for row in tables.comparison(perfect, [older]).rows}
    assert rows["PxAP"] == [f"{perfect.metrics['PxAP']:.2f}", "—", "—"]
    assert [tile.change for tile in tables.tiles(perfect, older) if tile.name == "PxAP"] == [""]


def test_boxes_by_iou_and_their_mean(finished):
    (table,) = tables.boxes(finished)
    v2 = finished.metrics["details"]["MaxBoxAccV2"]
    moved, rows = v2["transferred"], [row for row in table.rows if row[0] == "MaxBoxAccV2"]
    assert rows[1][1:] == [
        *("0.5", f"{v2['best_thresholds'][1]:.3f}", f"{v2['accuracy'][1]:.1f}"),
        *(f"{moved['thresholds'][1]:.3f}", f"{moved['accuracy'][1]:.1f}", f"{v2['otsu'][1]:.1f}"),
    ]
    mean = [f"{v2['mean']:.1f}", "", f"{moved['mean']:.1f}", f"{sum(v2['otsu']) / 3:.1f}"]
    assert rows[3][1:] == ["mean", "", *mean]
    assert [row[1] for row in table.rows if row[0] == "MaxBoxAcc"] == ["0.5"]


def test_comparison_of_several_refers_to_the_first(perfect, finished):
    table = tables.comparison(finished, [perfect, finished])
    assert list(table.heads) == ["", "center", "difference", "truth", "center"]
    rows = {row[0]: row[1:] for row in table.rows}
    best, centre = (f"{run.metrics['PxAP']:.2f}" for run in (perfect, finished))
    assert rows["PxAP"] == [centre, f"{float(centre) - float(best):+.2f}", best, centre]
    assert rows["images with lower IoU"][0] == rows["images with lower IoU"][3] != "0"


def test_thresholds_of_another_split_are_compared(finished):
    rows = {row[0]: row[1:] for row in tables.comparison(finished, []).rows}
    details = finished.metrics["details"]
    moved = details["MaxBoxAccV2"]["transferred"]
    assert rows["MaxBoxAccV2, threshold of val"] == [f"{moved['mean']:.2f}"]
    assert rows["mean IoU, threshold of val"] == [f"{details['PxAP']['transferred']['iou']:.2f}"]


def test_thresholds_of_another_split_have_columns_of_their_own(finished, perfect):
    assert "threshold of val" in tables.boxes(finished)[0].heads
    assert "threshold of val" not in tables.boxes(perfect)[0].heads


def test_classes_are_counted_once(finished):
    table = tables.classes(finished)
    assert sum(int(number) for number in cells(table, "images")) == 12


def test_kinds_of_failure_add_up(finished):
    table = tables.kinds([finished])
    wrong = sum(row.kind != "found" for row in finished.rows)
    counted = [int(row[1].split()[0]) for row in table.rows if row[0] not in ("found", "all")]
    assert sum(counted) == pytest.approx(wrong)
