import csv

import pytest

from fcam_tf.data import load, write_shapes
from fcam_tf.paper import architecture, measured, peers, runtime


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_table2_has_a_row_for_each_block(tmp_path, tiny_backbone):
    files = measured.table2(tmp_path, [tiny_backbone], 16)
    assert [file.name for file in files] == ["table2.csv", "table2.md", "table2.tex"]
    rows = rows_of(files[0])
    assert {row["backbone"] for row in rows} == {tiny_backbone}
    assert rows[0]["input"].startswith("14x14x")
    assert rows[-1]["output"].startswith("224x224x")
    assert files[1].read_text().count("\n| ") == len(rows) + 2
    assert {row["published channels"] for row in rows} == {"—"}


def test_what_is_printed_stands_beside(tmp_path, tiny_backbone, monkeypatch):
    tiny = architecture.describe(tiny_backbone, output_stride=16)
    renamed = tiny._replace(backbone="resnet50")
    monkeypatch.setattr(architecture, "describe", lambda *_, **__: renamed)
    rows = [
        runtime.Timing("fcam", runtime.ROWS["fcam"], 1.5, 2.5, 1, estimated=False),
        runtime.Timing("cam", runtime.ROWS["cam"], 1.5, 2.5, 1, estimated=False),
        runtime.Timing("fcam", "F-CAM, another library", None, 2.5, 1, estimated=False),
    ]
    monkeypatch.setattr(runtime, "timings", lambda *_, **__: rows)
    monkeypatch.setattr(runtime, "peer_timings", lambda *_, **__: [])
    monkeypatch.setattr(runtime, "busy", lambda: "while other work ran (load 8.4)")
    measured.table2(tmp_path, ["resnet50"], None)
    notes = []
    options = {"methods": [], "rounds": 1, "channels": None, "note": notes.append}
    measured.table4(tmp_path, ["resnet50"], 8, **options)
    channels = [row["published channels"] for row in rows_of(tmp_path / "table2.csv")]
    assert channels == ["256", "128", "64", "32", "16"]
    (counts,) = rows_of(tmp_path / "table4-counts.csv")
    assert (counts["published #PCL"], counts["published SFM"]) == ("23.9", "28x28")
    assert [row["published"] for row in rows_of(tmp_path / "table4.csv")] == ["18.5", "—", "—"]
    assert notes[0] == (
        "timed while other work ran (load 8.4): do not compare these times with others"
    )
    assert (
        "cores, while other work ran (load 8.4) (Table 4)" in (tmp_path / "table4.md").read_text()
    )

    # What the paper prints is not of networks of another stride.
    measured.table2(tmp_path, ["resnet50"], 16)
    measured.table4(tmp_path, ["resnet50"], 16, **options)
    for name in ("table2", "table4", "table4-counts"):
        lines = (tmp_path / f"{name}.md").read_text().splitlines()
        assert ", output stride 16" in lines[0]
        where = [i for i, head in enumerate(lines[2].split(" | ")) if "published" in head]
        assert {line.split(" | ")[i].strip(" |") for i in where for line in lines[4:]} == {"—"}


def test_table4_notes_each_row_as_it_is_measured(tmp_path, tiny_backbone, monkeypatch):
    notes = []
    options = {"methods": ["cam", "scorecam"], "rounds": 1, "channels": 2, "note": notes.append}
    theirs = runtime.Timing("cam", "CAM, torch-cam", None, 2.5, 1, estimated=False)
    monkeypatch.setattr(runtime, "peer_timings", lambda *_, **__: iter([theirs]))
    monkeypatch.setattr(peers, "missing", lambda _: ["xplique"])
    monkeypatch.setattr(runtime, "busy", lambda: "")
    files = measured.table4(tmp_path, [tiny_backbone], 16, **options)
    counts, rows = rows_of(tmp_path / "table4-counts.csv"), rows_of(tmp_path / "table4.csv")
    assert len(files) == 6
    assert counts[0]["SFM"] == "14x14"
    assert [row["method"] for row in rows] == ["CAM", "Score-CAM", "CAM, torch-cam"]
    assert (rows[0]["map"] == "—") < (rows[1]["map"] == "—")
    assert rows[1]["with forward pass"].endswith(" (estimated)")
    assert (rows[2]["map"], rows[2]["with forward pass"]) == ("—", "2.5")
    assert [note.split("  ")[1] for note in notes[:-1]] == ["CAM", "Score-CAM", "CAM, torch-cam"]
    assert notes[-1] == "not installed, so not timed beside ours: xplique"


def test_table4_goes_on_after_a_stop(tmp_path, tiny_backbone, monkeypatch):
    def timings(_, methods, **__):
        for method in methods:
            if method == "layercam" and not measured_before:
                raise KeyboardInterrupt
            name = runtime.ROWS[method]
            yield runtime.Timing(method, name, None, 2.0 + measured_before, 1, estimated=False)

    def others(*_, done, **__):
        if "CAM, torch-cam" not in done:
            yield runtime.Timing("cam", "CAM, torch-cam", None, 9.0, 1, estimated=False)

    monkeypatch.setattr(runtime, "timings", timings)
    monkeypatch.setattr(runtime, "peer_timings", others)
    monkeypatch.setattr(runtime, "busy", lambda: "" if measured_before else "while busy")
    notes = []
    options = {"methods": ["cam", "layercam"], "rounds": 1, "channels": None}
    measured_before = False
    with pytest.raises(KeyboardInterrupt):
        measured.table4(tmp_path, [tiny_backbone], 16, note=print, **options)
    assert not (tmp_path / "table4.csv").exists()
    measured_before = True
    measured.table4(tmp_path, [tiny_backbone], 16, note=notes.append, **options)
    rows = rows_of(tmp_path / "table4.csv")
    assert [row["method"] for row in rows] == ["CAM", "LayerCAM", "CAM, torch-cam"]
    assert [row["with forward pass"] for row in rows] == ["2.0", "3.0", "9.0"]
    assert notes[0] == f"{tiny_backbone}: 1 of its rows were timed before the stop"
    assert "while busy" in (tmp_path / "table4.md").read_text()  # which the first row was

    measured.table4(tmp_path, [tiny_backbone], 16, note=print, **options)  # anew: it is finished
    assert rows_of(tmp_path / "table4.csv")[0]["with forward pass"] == "3.0"
    assert "while busy" not in (tmp_path / "table4.md").read_text()


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    return load(write_shapes(folder, {"test": 3}, 56), "test")


def test_fig3_begins_with_a_whole_mask(tmp_path, split):
    files = measured.fig3(tmp_path, split)
    assert {file.suffix for file in files} == {".csv", ".md", ".tex", ".png", ".pdf"}
    rows = rows_of(tmp_path / "fig3.csv")
    assert (rows[0]["z"], rows[0]["side"], rows[0]["PxAP"]) == ("1", "224", "100.00")
    assert float(rows[-1]["PxAP"]) < 100


def test_fig4_is_drawn(tmp_path, split):
    assert [file.name for file in measured.fig4(tmp_path, split)] == ["fig4.png", "fig4.pdf"]
