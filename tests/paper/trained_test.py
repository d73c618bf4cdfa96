"""Whole tables are looked at by tests/commands/paper_test.py."""

from fcam_tf import training
from fcam_tf.paper import Study
from fcam_tf.paper.cells import Cell
from fcam_tf.paper.trained import train_all


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
