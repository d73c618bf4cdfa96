from types import SimpleNamespace

import numpy as np
import pytest

from fcam_tf.paper.cells import Cell
from fcam_tf.paper.results import cells_of, summarise
from fcam_tf.paper.rows import Row, table3

ROWS = [Row("CAM*", "cam"), Row("Center", "center")]


def scored(value):
    return SimpleNamespace(metrics={"MaxBoxAccV2": value, "PxAP": None}, rows=[0])


def test_the_first_seed_of_all_comes_first_and_nothing_twice():
    cells = cells_of([*ROWS, Row("CAM", "cam")], ["vgg16", "resnet50"], 2)
    assert [cell.told for cell in cells] == [
        *("vgg16, cam, seed 0", "center", "resnet50, cam, seed 0"),
        *("vgg16, cam, seed 1", "resnet50, cam, seed 1"),
    ]


def test_means_over_seeds_and_backbones_beside_the_paper_s():
    found = {
        Cell("vgg16", "cam", 0): scored(60.0),
        Cell("vgg16", "cam", 1): scored(62.0),
        Cell("resnet50", "cam", 0): scored(65.0),
        Cell("", "center"): scored(50.0),
    }
    entries = summarise(ROWS, ["vgg16", "resnet50"], 2, found, ["MaxBoxAccV2", "PxAP"])
    assert {entry.metric for entry in entries} == {"MaxBoxAccV2"}
    vgg16, resnet50, mean, center, _, center_mean = entries
    assert (vgg16.mean, vgg16.seeds, vgg16.published) == (61.0, 2, 57.0)
    assert vgg16.deviation == pytest.approx(2**0.5)
    assert vgg16.difference == 4.0
    assert (resnet50.mean, resnet50.deviation, resnet50.seeds) == (65.0, None, 1)
    assert (mean.column, mean.mean, mean.published) == ("mean", 63.0, None)
    assert center.mean == center_mean.mean == 50.0


def test_what_is_missing_has_no_mean():
    found = {Cell("vgg16", "cam", 0): scored(60.0)}
    entries = summarise(ROWS[:1], ["vgg16", "resnet50"], 1, found, ["MaxBoxAccV2"])
    assert [entry.mean for entry in entries] == [60.0, None, None]
    assert entries[1].difference is None


def test_the_paper_s_mean_is_that_of_its_three_backbones():
    names = ["resnet50", "vgg16", "inceptionv3"]
    found = {Cell(name, "cam", 0): scored(60.0) for name in names}
    entries = summarise(ROWS[:1], names, 1, found, ["MaxBoxAccV2"])
    assert entries[-1].published == 57.8


def test_what_is_printed_of_another_data_set():
    found = {Cell("vgg16", "cam", 0): scored(60.0)}
    given = ([Row("CAM", "cam")], ["vgg16"], 1, found, ["MaxBoxAccV2"])
    (cub,), (ilsvrc,) = summarise(*given), summarise(*given, recipe="ilsvrc")
    assert (cub.published, ilsvrc.published) == (63.7, 60.0)


def test_how_many_seeds_are_missing():
    found = {
        Cell("vgg16", "cam", 0): scored(60.0),
        Cell("vgg16", "cam", 1): scored(62.0),
        Cell("vgg16", "cam", 2): scored(64.0),
        Cell("resnet50", "cam", 0): scored(65.0),
        Cell("", "center"): scored(50.0),
    }
    entries = summarise(ROWS, ["vgg16", "resnet50"], 3, found, ["MaxBoxAccV2"])
    assert [entry.missing for entry in entries] == [0, 2, 2, 0, 0, 0]
    assert [entry.seeds for entry in entries] == [3, 1, 1, 1, 1, 1]


def test_each_backbone_counts_the_same_in_the_gain_of_the_mean(monkeypatch):
    monkeypatch.setattr(
        "fcam_tf.paper.results.statistic_of",
        lambda run, metric: lambda counts: np.full(len(counts), run.metrics[metric]),
    )
    found = {Cell("vgg16", "cam", seed): scored(50.0) for seed in range(3)}
    found |= {Cell("vgg16", "cam", seed, "fcam"): scored(60.0) for seed in range(3)}
    found |= {Cell("resnet50", "cam"): scored(50.0), Cell("resnet50", "cam", 0, "fcam"): scored(80)}
    rows = table3(["cam", "cam+fcam"])
    *_, vgg16, resnet50, mean = summarise(rows, ["vgg16", "resnet50"], 3, found, ["MaxBoxAccV2"])
    assert [entry.gain.difference for entry in (vgg16, resnet50, mean)] == [10, 30, 20]
    assert mean.mean == 70
