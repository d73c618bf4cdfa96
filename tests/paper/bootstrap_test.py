import numpy as np
import pytest

from fcam_tf.data import write_shapes
from fcam_tf.evaluation import Center, Evaluation, EvaluationSettings
from fcam_tf.paper.bootstrap import mean_of, paired, precision_of, statistic_of


def test_a_mean_counts_each_image_as_often_as_it_is_drawn():
    statistic = mean_of(np.array([0.0, 100.0]))
    assert statistic(np.array([[1, 1], [2, 0], [0, 2]])).tolist() == [50, 0, 100]


def test_precision_pools_the_pixels_of_the_images_drawn():
    # One bin; the first image has 1 object pixel of 4, the second 3 of 4.
    statistic = precision_of(np.array([[[3], [1]], [[1], [3]]]))
    assert statistic(np.array([[1, 1], [2, 0], [0, 2]])).tolist() == [50, 25, 75]


def test_the_interval_of_pairs():
    before, after = mean_of(np.array([0.0, 100.0])), mean_of(np.array([50.0, 150.0]))
    # However images are drawn, each gains the same: no doubt is left.
    assert paired([(before, after)], 2) == (50, 50, 50)
    # Draws of (0, 100) have means 0, 50, 100 with chances 1/4, 1/2, 1/4.
    nothing = mean_of(np.zeros(2))
    assert paired([(nothing, before)], 2) == (50, 0, 100)
    # Over the trainings the gain is the mean: of 50 and -50 nothing, surely.
    assert paired([(before, after), (after, before)], 2) == (0, 0, 0)
    assert paired([(nothing, before)], 2, draws=1, seed=1).low in (0, 50, 100)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(root, {"train": 2, "val": 2, "test": 7}, size=48, seed=3)
    settings = EvaluationSettings(method="center", data=str(root), split="test")
    return Evaluation(Center(), settings, tmp_path_factory.mktemp("center")).run()


@pytest.mark.parametrize("metric", ["MaxBoxAcc", "MaxBoxAccV2", "PxAP"])
def test_once_each_the_images_give_the_metric(run, metric):
    statistic = statistic_of(run, metric)
    assert statistic(np.ones((1, 7)))[0] == pytest.approx(run.metrics[metric], abs=1e-9)


def test_draws_without_an_object_do_not_count():
    # Only the first image has an object: of two that are drawn, a quarter of the draws lacks it.
    before, after = np.array([[[3], [1]], [[4], [0]]]), np.array([[[1], [3]], [[0], [0]]])
    assert np.isnan(precision_of(before)(np.array([[0, 2]]))).all()
    # The second image as often as the first: 1 of 8 pixels against 3 of 4; else 1 of 4.
    found = paired([(precision_of(before), precision_of(after))], 2)
    assert found == (62.5, 50, 62.5)
