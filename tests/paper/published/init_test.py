import pytest

from fcam_tf.names import BACKBONES
from fcam_tf.paper.published import MEAN, data_of, published, table
from fcam_tf.paper.rows import table3
from fcam_tf.paper.runtime import ROWS


@pytest.mark.parametrize("recipe", ["small", "ilsvrc"])
def test_each_number_belongs_to_a_row_and_a_column(recipe):
    titles = {row.title for row in table3([])}
    for metric, row, column in published(recipe):
        assert metric in data_of(recipe)
        assert row in titles
        assert column in (*BACKBONES, MEAN)


def test_numbers_are_those_of_the_tables():
    assert published()["MaxBoxAcc", "CAM* + F-CAM", "resnet50"] == 90.3
    assert published()["MaxBoxAccV2", "Smooth-GradCAM++ + F-CAM", "inceptionv3"] == 74.0
    assert published()["PxAP", "Center", "mean"] == 45.8
    assert ("MaxBoxAccV2", "CAM* + F-CAM", "mean") not in published()


def test_beside_tables_of_ilsvrc_stand_its_own_numbers():
    assert published("ilsvrc")["MaxBoxAccV2", "CAM", "mean"] == 62.4
    assert published("openimages")["MaxBoxAccV2", "CAM", "mean"] == 61.1
    assert {metric for metric, *_ in published("ilsvrc")} == {"MaxBoxAccV2"}


def test_times_belong_to_a_row_and_a_backbone():
    for line in table("table4"):
        assert line["backbone"] in BACKBONES
        assert line["method"] in ROWS
