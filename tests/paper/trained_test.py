"""Whole tables are looked at by tests/commands/paper_test.py."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from fcam_tf import training
from fcam_tf.paper import Study
from fcam_tf.paper.cells import Cell
from fcam_tf.paper.panels import Curve
from fcam_tf.paper.rows import table1, table3
from fcam_tf.paper.trained import (
    check_terms,
    data_name,
    figure_title,
    reached,
    told_seeds,
    train_all,
)


def test_what_diverged_is_told_and_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(Study, "check", lambda *_: None)
    told = []
    study = Study("data", tmp_path, tell=told.append)
    good, bad = Cell("vgg16", "cam"), Cell("vgg16", "cam", 1)

    def score(cell):
        if cell == bad:
            raise training.TrainingDivergedError("loss is NaN")
        return 1.0

    assert train_all(study, "table1", [good, bad], score) == {good: 1.0}
    assert study.missing == [bad]
    assert "missing in table1: vgg16, cam, seed 1" in told


@pytest.mark.parametrize(
    ("backbones", "expected"),
    [
        (["vgg16"], {"CAM*": 41, "CAM* + F-CAM": 71, "Center": 50}),
        (
            ["vgg16", "resnet50"],
            {
                "vgg16, CAM*": 41,
                "vgg16, CAM* + F-CAM": 71,
                "Center": 50,
                "resnet50, CAM*": 31,
                "resnet50, CAM* + F-CAM": 60,
            },
        ),
    ],
)
def test_means_of_what_rows_reach(tmp_path, monkeypatch, backbones, expected):
    def score(_, cell):
        if (cell.backbone, cell.variant, cell.seed) == ("resnet50", "fcam", 1):
            raise training.TrainingDivergedError("loss is NaN")
        own = {"vgg16": 40, "resnet50": 30, "": 50}[cell.backbone]
        return SimpleNamespace(metrics={"PxAP": own + 30 * bool(cell.variant) + 2 * cell.seed})

    monkeypatch.setattr(Study, "check", lambda *_: None)
    monkeypatch.setattr(Study, "score", score)
    study = Study("data", tmp_path, tell=lambda _: None)
    rows = table3(["cam", "cam+fcam", "center"])
    told = "2 seeds" if len(backbones) == 1 else "at least 1 of 2 seeds"
    assert reached(study, "fig3", rows, backbones, 2) == (expected, told)


@pytest.mark.parametrize(
    ("seeds", "found", "told"),
    [
        (1, [1, 1], "1 seed"),
        (3, [], "3 seeds"),
        (3, [3, 3], "3 seeds"),
        (3, [3, 2], "at least 2 of 3 seeds"),
    ],
)
def test_how_many_seeds_a_mean_is_of(seeds, found, told):
    assert told_seeds(seeds, found) == told


def test_titles_of_curves_say_of_how_many_seeds_they_are(tmp_path):
    study, (method, ours) = Study("birds", tmp_path), table3(["cam", "cam+fcam"])
    curves = [
        Curve("vgg16", row, seed, "", *[np.zeros(1)] * 2)
        for row, seed in ((method, 0), (method, 1), (ours, 0), (ours, 1))
    ]
    assert figure_title(study, "test", curves, 2, "a") == "birds, test, CAM*, 2 seeds: a"
    few = "birds, test, CAM*, at least 1 of 2 seeds: a"
    assert figure_title(study, "test", curves[:3], 2, "a") == few


def test_the_name_of_a_data_set(tmp_path, monkeypatch):
    (tmp_path / "CUB").mkdir()
    monkeypatch.chdir(tmp_path / "CUB")
    for root in (".", "../CUB/", str(tmp_path / "CUB")):
        assert data_name(Study(root, tmp_path)) == "CUB"
    (tmp_path / "birds").symlink_to(tmp_path / "CUB")
    assert data_name(Study("../birds", tmp_path)) == "birds"  # as the user calls it
    assert data_name(Study("tfds:pets", tmp_path)) == "tfds:pets"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("loss.crf=0",), r"'CAM\* \+ SR \+ CRF' .*without loss.crf: .*has loss.crf=0"),
        (("loss.size=0",), r"'CAM\* \+ SR \+ ASC' .*has loss.size=0"),
        (("loss.seeds=0",), r"'CAM\* \+ SR' .*has loss.seeds=0"),
        # Recipe small sharpens from the second epoch on.
        (
            ("epochs=1",),
            r"'CAM\* \+ SR \+ CRF' .*with epoch 1, and loss.crf begins in epoch 2",
        ),
    ],
)
def test_rows_are_trained_with_what_they_are_named_after(tmp_path, settings, message):
    study = Study("data", tmp_path, "small")
    check_terms(study, table1([]))
    study = dataclasses.replace(study, fcam_set=settings)
    with pytest.raises(ValueError, match=message):
        check_terms(study, table1([]))
    check_terms(study, table3([]))  # which names none
