from fcam_tf.names import BACKBONES
from fcam_tf.paper.published import DATA, MEAN, published
from fcam_tf.paper.rows import table3


def test_each_number_belongs_to_a_row_and_a_column():
    titles = {row.title for row in table3([])}
    for metric, row, column in published():
        assert metric in DATA
        assert row in titles
        assert column in (*BACKBONES, MEAN)


def test_numbers_are_those_of_the_tables():
    assert published()["MaxBoxAcc", "CAM* + F-CAM", "resnet50"] == 90.3
    assert published()["MaxBoxAccV2", "Smooth-GradCAM++ + F-CAM", "inceptionv3"] == 74.0
    assert published()["PxAP", "Center", "mean"] == 45.8
    assert ("MaxBoxAccV2", "CAM* + F-CAM", "mean") not in published()
