from fcam_tf.paper.bootstrap import Interval
from fcam_tf.paper.results import Entry
from fcam_tf.paper.writing import Grid, latex, markdown, scores, write_table

ENTRIES = [
    Entry("PxAP", "CAM*", "tiny", 50.04, 1.0, 3, 53.0),
    Entry("PxAP", "CAM*", "mean", 50.04, None, 3),
    Entry("PxAP", "CAM* + x_y", "tiny", 70.0, None, 1, None, Interval(19.96, 10.0, 25.5)),
    Entry("PxAP", "CAM* + x_y", "mean", None, None, 0),
]


def test_what_means_something_to_latex_and_markdown():
    grid = Grid("50 %", ["#PCL"], [["a&b|c^2~$1{\\x}"]], set())
    shown = r"a\&b|c\^{}2\~{}\$1\{\textbackslash{}x\}"
    lines = latex(grid).splitlines()
    assert r"\resizebox" in lines.pop(3)  # where it is wider than the text
    assert lines[2:6] == [
        r"\caption{50 \%}",
        r"\begin{tabular}{l}",
        r"\#PCL \\ \hline",
        rf"{shown} \\",
    ]
    assert r"a&b\|c^2" in markdown(grid)


def test_all_three_files(tmp_path):
    table, text, latex = write_table(tmp_path, "t", "shapes", ENTRIES)
    lines = table.read_text().splitlines()
    assert lines[0] == (
        "metric,row,column,seeds,mean,deviation,published,difference,gain,gain_low,gain_high"
    )
    assert lines[1] == "PxAP,CAM*,tiny,3,50.040,1.000,53.000,-2.960,,,"
    assert lines[3] == "PxAP,CAM* + x_y,tiny,1,70.000,,,,19.960,10.000,25.500"
    shown = text.read_text()
    assert shown.startswith("# shapes\n\nPxAP, percent: mean and standard deviation. Published: on")
    assert "| CAM\\* | 50.0 ± 1.0 | 53.0 | -3.0 | **50.0** | — | — |\n" in shown
    assert "| CAM\\* + x_y | **70.0** | — | — | — | — | — |\n" in shown
    assert "| CAM\\* + x_y | +20.0 [+10.0, +25.5] |" in shown
    assert r"CAM* + x\_y & \textbf{70.0} & -- & -- & -- & -- & -- \\" in latex.read_text()
    assert r"50.0 $\pm$ 1.0" in latex.read_text()
    assert r"& 53.0 & $-$3.0 &" in latex.read_text()  # a minus, no hyphen


def test_the_data_set_of_what_is_published():
    entries = [Entry("MaxBoxAccV2", "CAM", "vgg16", 50.0, None, 1, 60.0)]
    assert scores(entries, "MaxBoxAccV2").caption.endswith("Published: on CUB.")
    assert scores(entries, "MaxBoxAccV2", "ilsvrc").caption.endswith("Published: on ILSVRC.")


def test_latex_is_balanced():
    text = latex(Grid("a", ["", "b"], [["x", "1e-9"]], set()))
    assert text.count("{") == text.count("}")
    assert "x & 1e-9" in text


def test_a_mean_of_fewer_seeds_says_so(tmp_path):
    entries = [
        Entry("PxAP", "CAM*", "vgg16", 50.0, 1.0, 2, missing=1),
        Entry("PxAP", "HaS", "vgg16", 60.0, 1.0, 3),
        Entry("PxAP", "ADL", "vgg16", missing=3),
    ]
    _, text, latex = write_table(tmp_path, "t", "t: shapes, test, 3 seeds", entries)
    assert "| 50.0 ± 1.0 (2 of 3 seeds) |" in text.read_text()
    assert r"50.0 $\pm$ 1.0 (2 of 3 seeds)" in latex.read_text()
    assert "| **60.0 ± 1.0** |\n| ADL | — |" in text.read_text()
