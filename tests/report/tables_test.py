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
    assert rows["PxAP"] == [f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f}"]
    gains = sum(a.quality > b.quality for a, b in zip(perfect.rows, finished.rows, strict=True))
    assert rows["images that gain"] == ["", str(gains), ""]


def test_comparison_of_several_refers_to_the_first(perfect, finished):
    table = tables.comparison(finished, [perfect, finished])
    assert list(table.heads) == ["", "truth", "center", "center", "difference"]
    rows = {row[0]: row[1:] for row in table.rows}
    best, centre = (f"{run.metrics['PxAP']:.2f}" for run in (perfect, finished))
    assert rows["PxAP"][:3] == [best, centre, centre]
    assert float(rows["PxAP"][3]) < 0
    assert rows["images that lose"][1] == rows["images that lose"][2] != "0"


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
