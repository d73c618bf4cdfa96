import dataclasses

import numpy as np
import pytest

from fcam_tf import cams, metrics
from fcam_tf.data import evaluation_dataset
from fcam_tf.evaluation import Evaluation, EvaluationSettings, ModelMaps
from fcam_tf.graphs.resize import resize
from fcam_tf.training import Validation


def truth_maps(split, size):
    """Return what a perfect model would give."""
    union = [metrics.join_masks(*split.read_masks(i), (size, size)) == 1 for i in range(len(split))]
    return np.stack(union).astype(np.float32)


def test_a_perfect_model_reaches_a_hundred(splits):
    split = splits[1]
    maps = iter(np.array_split(truth_maps(split, 64), [4]))
    seen = []

    def perfect(images, labels):
        seen.append((np.asarray(images).shape, list(labels)))
        return next(maps), np.eye(5)[labels]

    scores = Validation(split, 64, batch_size=4)(perfect)
    assert scores["PxAP"] == pytest.approx(100, abs=0.2)
    assert scores["MaxBoxAcc"] == 100
    assert scores["accuracy"] == 100
    assert [shape for shape, _ in seen] == [(4, 64, 64, 3), (3, 64, 64, 3)]
    assert [label for _, labels in seen for label in labels] == list(split.labels)


def test_scores_are_the_metrics_on_scaled_maps(splits, classifier):
    split, cam = splits[1], cams.get("cam", classifier)
    scores = Validation(split, 64, batch_size=3)(cam.maps_and_logits)
    assert list(scores) == ["PxAP", "MaxBoxAcc", "MaxBoxAccV2", "accuracy"]
    (images, labels), *more = evaluation_dataset(split, size=64)
    assert not more
    maps, logits = cam.maps_and_logits(images, labels)
    maps = np.clip(resize(np.asarray(maps)[..., None], (64, 64))[..., 0], 0, 1)
    boxes = [metrics.resize_boxes(split.boxes[i], split.size(i), (64, 64)) for i in range(7)]
    masks = [metrics.join_masks(*split.read_masks(i), (64, 64)) for i in range(7)]
    for name, truth in (("MaxBoxAcc", boxes), ("MaxBoxAccV2", boxes), ("PxAP", masks)):
        metric = getattr(metrics, name)()
        metric.update_state(maps, truth)
        assert scores[name] == pytest.approx(metric.result(), abs=1e-6)
    correct = np.asarray(logits).argmax(1) == split.labels
    assert scores["accuracy"] == pytest.approx(100 * correct.mean())


def test_an_evaluation_on_disk_gives_the_same_figures(splits, classifier, tmp_path):
    data = splits[1].paths[0].parents[1]
    settings = EvaluationSettings(method="cam", data=str(data), split="val")
    run = Evaluation(ModelMaps(classifier, "cam"), settings, tmp_path).run()
    cam = cams.get("cam", classifier)
    scores = Validation(splits[1])(cam.maps_and_logits)
    assert scores == {name: run.metrics[name] for name in scores}


def test_small_images_may_be_scored_in_the_benchmark_s_frame(splits):
    split, big = splits[1], truth_maps(splits[1], 224)
    seen = []

    def perfect(images, labels):
        seen.append(np.asarray(images).shape)
        return big, np.eye(5)[labels]

    scores = Validation(split, 64, frame=224)(perfect)
    assert seen == [(7, 64, 64, 3)]
    assert (scores["PxAP"], scores["MaxBoxAcc"]) == (100, 100)


def test_unknown_classes_leave_the_prediction(splits):
    def model(images, labels):
        assert labels is None
        return np.ones((len(images), 8, 8)), np.zeros((len(images), 1000))

    assert "accuracy" not in Validation(splits[1], 64)(model, False)


def test_what_has_no_truth_has_no_score(splits):
    split = dataclasses.replace(splits[1], masks=None)
    assert Validation(split).scores == ("MaxBoxAcc", "MaxBoxAccV2", "accuracy")
    assert Validation(dataclasses.replace(split, boxes=None)).scores == ("accuracy",)
