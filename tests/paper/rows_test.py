import pytest

from fcam_tf.paper.cells import Cell
from fcam_tf.paper.rows import table1, table3, table5, vary


def test_the_ablation():
    rows = table1(["layercam"])
    assert [row.title for row in rows] == [
        *("LayerCAM", "LayerCAM + SR", "LayerCAM + SR + ASC", "LayerCAM + SR + CRF"),
        "LayerCAM + SR + ASC + CRF",
    ]
    assert rows[2].cells("vgg16", 2)[1] == Cell("vgg16", "layercam", 1, "SR+ASC", ("loss.crf=0",))
    # With all losses it is the F-CAM of Table 3, which need not be trained twice.
    assert rows[4].cells("vgg16", 1) == table3(["layercam+fcam"])[0].cells("vgg16", 1)
    assert {row.before for row in rows[1:]} == {"LayerCAM"}


def test_table_3_has_the_rows_of_the_paper():
    rows = table3([])
    titles = [row.title for row in rows]
    assert titles[:9] == ["CAM", "HaS", "ACoL", "SPG", "ADL", "CutMix", "ICL", "FSL", "Center"]
    assert titles[9:11] == ["CAM*", "GradCAM"]
    assert titles[-1] == "LayerCAM + F-CAM"
    assert len(titles) == 21
    # Ours has one training for CAM and CAM*, and one centre for all backbones.
    assert rows[0].cells("vgg16", 3) == rows[9].cells("vgg16", 3)
    assert rows[8].cells("vgg16", 3) == rows[8].cells("resnet50", 1) == [Cell("", "center")]


def test_table_5_has_what_classifies():
    assert [row.title for row in table5(["cam", "cam+fcam", "fsl", "center", "adl"])] == [
        "CAM*",
        "ADL",
    ]
    with pytest.raises(ValueError, match="`methods` must name one with a classifier"):
        table5(["cam+fcam", "fsl", "center"])


def test_variation():
    rows = vary([], "loss.crf=0,1e-9")
    assert [row.title for row in rows] == ["CAM*", "CAM* + loss.crf=0", "CAM* + loss.crf=1e-9"]
    assert rows[2].settings == ("loss.crf=1e-9",)


def test_commas_in_brackets_belong_to_a_value():
    rows = vary([], 'loss.windows={"crf": [2, null], "size": [1, 3]}, {}')
    assert [row.settings[0].partition("=")[2] for row in rows[1:]] == [
        '{"crf": [2, null], "size": [1, 3]}',
        "{}",
    ]


@pytest.mark.parametrize("text", ["loss", "=1", "loss.crf=", "loss.crf=0,,1", "loss.crf=0,1,0"])
def test_wrong_variations(text):
    with pytest.raises(ValueError, match=rf"`vary` must be .*each value once.* '{text}'"):
        vary([], text)


def test_wrong_names():
    with pytest.raises(ValueError, match=r"`methods` is unknown: 'camm'"):
        table1(["camm"])
    with pytest.raises(ValueError, match=r"such as cam\+fcam. Received: 'cam\+fcan'"):
        table3(["cam+fcan"])
    with pytest.raises(ValueError, match="`methods` is unknown: 'fsl'"):
        table3(["fsl+fcam"])
