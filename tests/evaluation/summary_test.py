import dataclasses

import numpy as np
import pytest

from fcam_tf import metrics
from fcam_tf.evaluation.scores import read_truth, score_map
from fcam_tf.evaluation.summary import Summary


@pytest.fixture
def scored(split):
    rng = np.random.default_rng(0)
    maps = [metrics.normalize_cam(rng.random((6, 6))) for _ in split.ids]
    items = [
        score_map(
            m,
            read_truth(split, i, 224),
            "x",
            index=i,
            rank=i % 2,
            predicted=3,
            confidence=0.9,
        )
        for i, m in enumerate(maps)
    ]
    return maps, items


def test_headlines_are_those_of_the_metrics(split, scored):
    maps, items = scored
    truth = [read_truth(split, i, 224) for i in range(len(split))]
    labels, logits = np.zeros(12, int), np.array([[1, 0], [0, 1]] * 6)
    v1, v2, pxap = metrics.MaxBoxAcc(), metrics.MaxBoxAccV2(), metrics.PxAP()
    for metric in (v1, v2):
        metric.update_state(maps, [t["boxes"] for t in truth], labels, logits)
    pxap.update_state(maps, [t["mask"] for t in truth])
    got = Summary(items, split).metrics()
    assert got["MaxBoxAcc"] == v1.result()
    assert got["MaxBoxAccV2"] == v2.result()
    assert got["PxAP"] == pxap.result()
    assert got["Top1Loc"] == v1.details()["top1"][0]
    assert got["Top5Loc"] == v1.details()["top5"][0] == got["MaxBoxAcc"]
    assert got["accuracy"] == 50
    assert got["details"]["top5_accuracy"] == 100
    assert sum(got["details"]["activation"]) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(got["details"]["MaxBoxAccV2"]["curves"], v2.curves(), atol=1e-6)


def test_thresholds_of_another_split(split, scored):
    _, items = scored
    half, other = split.subset(range(6)), split.subset(range(6, 12))
    one = Summary(items[:6], half)
    two = Summary([dataclasses.replace(item, index=item.index - 6) for item in items[6:]], other)
    details = one.metrics(two, "val")["details"]
    pixels = one.counted.pop("PxAP")
    assert list(one.counted) == ["MaxBoxAcc", "MaxBoxAccV2", "MaxBoxAccV3"]
    for name, metric in one.counted.items():
        moved = details[name]["transferred"]
        assert moved["thresholds"] == two.counted[name].best_thresholds().tolist()
        assert moved["accuracy"] == metric.accuracy_at(moved["thresholds"]).tolist()
        assert moved["mean"] <= details[name]["mean"]
    moved = details["PxAP"]["transferred"]
    assert moved["iou"] <= details["PxAP"]["peak_iou"]
    assert moved["threshold"] == two.counted["PxAP"].details()["peak_threshold"]
    assert pixels.iou_at(pixels.details()["peak_threshold"]) == details["PxAP"]["peak_iou"]


def test_a_new_metric_is_a_line_and_a_class(split, scored, monkeypatch):
    maps, _ = scored

    class Newest(metrics.MaxBoxAcc):
        def result(self):
            return super().result() / 2

    measure = metrics.MEASURES["MaxBoxAcc"]._replace(meaning="half of it")
    monkeypatch.setitem(metrics.MEASURES, "Newest", measure)
    monkeypatch.setattr(metrics, "Newest", Newest, raising=False)
    items = [score_map(m, read_truth(split, i, 224), "x", index=i) for i, m in enumerate(maps)]
    got = Summary(items, split).metrics()
    assert got["Newest"] == got["MaxBoxAcc"] / 2 > 0
    assert got["details"]["Newest"]["accuracy"] == got["details"]["MaxBoxAcc"]["accuracy"]


def test_what_cannot_be_said_is_none(split, scored):
    _, items = scored
    unranked = [dataclasses.replace(item, rank=-1) for item in items]
    got = Summary(unranked, dataclasses.replace(split, masks=None)).metrics()
    assert [got[name] for name in ("PxAP", "Top1Loc", "Top5Loc", "accuracy")] == [None] * 4
    assert got["MaxBoxAcc"] is not None
    got = Summary(items, dataclasses.replace(split, boxes=None)).metrics()
    assert [got[name] for name in ("MaxBoxAcc", "MaxBoxAccV2", "Top1Loc")] == [None] * 3
    assert got["PxAP"] is not None


def test_no_object_in_the_whole_split(split, scored):
    _, items = scored
    histogram = np.zeros((2, 1001))
    histogram[0, 0] = 1
    empty = [dataclasses.replace(item, kept={"PxAP": histogram}) for item in items]
    with pytest.raises(RuntimeError, match="no object pixel in the whole split"):
        Summary(empty, dataclasses.replace(split, boxes=None))
