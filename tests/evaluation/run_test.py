import dataclasses
import json
import subprocess
import sys

import pytest

from fcam_tf.evaluation import Center, Evaluation, Run
from fcam_tf.predict import SettingsChangedError

HEADLINES = ("MaxBoxAcc", "MaxBoxAccV2", "PxAP", "Top1Loc", "Top5Loc", "accuracy")

KILLED = """
import os, sys
from fcam_tf.evaluation import Center, Evaluation, Settings

class Deadly(Center):
    calls = 0
    def __call__(self, *batch):
        self.calls += 1
        if self.calls == 9:
            os._exit(9)
        return super().__call__(*batch)

settings = Settings(method="center", data=sys.argv[1], split="test")
Evaluation(Deadly(), settings, sys.argv[2]).run(batch_size=1)
"""


def test_results_by_the_names_people_look_for(finished):
    metrics = json.loads((finished.out / "metrics.json").read_text())
    assert list(metrics)[:6] == list(HEADLINES)
    assert 0 < metrics["MaxBoxAcc"] <= 100
    assert metrics["details"]["images"] == len(finished.rows) == 12
    assert metrics["details"]["MaxBoxAccV2"]["transferred"]["split"] == "val"
    assert metrics["settings"]["method"] == "center"
    assert [row.id for row in finished.rows] == list(finished.split.ids)
    share = sum(row.iou >= 0.5 for row in finished.rows) / 12
    assert 100 * share == pytest.approx(metrics["MaxBoxAcc"])
    assert Run(finished.out).rows == finished.rows


def test_a_killed_process_s_work_is_taken_up(shapes, settings, tmp_path, monkeypatch):
    monkeypatch.setattr("fcam_tf.evaluation.scoring.PART", 2)
    code = "import fcam_tf.evaluation.scoring as s; s.PART = 2\n" + KILLED
    killed = subprocess.run(
        [sys.executable, "-c", code, str(shapes), str(tmp_path / "a")], check=False
    )
    assert killed.returncode == 9
    kept = sorted((tmp_path / "a" / "parts").iterdir())
    assert kept
    with pytest.raises(FileNotFoundError, match=r"no finished evaluation: there is no metrics"):
        Run(tmp_path / "a")
    stamps = [file.stat().st_mtime_ns for file in kept]
    resumed = Evaluation(Center(), settings, tmp_path / "a").run()
    assert [file.stat().st_mtime_ns for file in kept] == stamps
    whole = Evaluation(Center(), settings, tmp_path / "b").run()
    assert (resumed.metrics, resumed.rows) == (whole.metrics, whole.rows)


def test_other_settings_are_refused_until_told_to_start_afresh(settings, tmp_path):
    Evaluation(Center(), settings, tmp_path).run()
    other = dataclasses.replace(settings, labels="predicted")
    with pytest.raises(SettingsChangedError, match="labels was 'truth' and is now 'predicted'; "):
        Evaluation(Center(), other, tmp_path)
    Evaluation(Center(), settings, tmp_path)
    run = Evaluation(Center(), other, tmp_path, overwrite=True).run()
    assert run.settings.labels == "predicted"


@pytest.mark.parametrize(
    "change",
    [
        lambda split: {"boxes": tuple(boxes + 1 for boxes in split.boxes)},
        lambda split: {"sizes": split.sizes + 1},
        lambda split: {"labels": split.labels[::-1].copy()},
        lambda split: {"masks": split.masks[::-1]},
        lambda split: {"ignores": split.masks[0][:1] * len(split)},
    ],
)
def test_changed_truth_is_another_setting(settings, tmp_path, monkeypatch, change):
    Evaluation(Center(), settings, tmp_path / "out").run()
    load = Evaluation.__init__.__globals__["load"]

    def moved(data, name):
        split = load(data, name)
        return dataclasses.replace(split, **change(split))

    monkeypatch.setattr("fcam_tf.evaluation.run.load", moved)
    with pytest.raises(SettingsChangedError, match="truth_sha256"):
        Evaluation(Center(), settings, tmp_path / "out")


def test_a_folder_of_something_else_is_left_alone(settings, tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(SettingsChangedError, match="something else"):
        Evaluation(Center(), settings, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["holiday.jpg"]


def test_true_classes_cannot_be_asked_of_a_model_of_others(blobs, settings, tmp_path):
    blobs.num_classes = 1000
    with pytest.raises(ValueError, match=r"model has 1000 classes, the data set 5.*'predicted'"):
        Evaluation(blobs, settings, tmp_path / "a")
    blobs.num_classes, blobs.class_names = 5, ("disc", "star", "square", "triangle", "cross")
    with pytest.raises(ValueError, match="'star' where that has 'square'"):
        Evaluation(blobs, settings, tmp_path / "a")
    run = Evaluation(blobs, dataclasses.replace(settings, labels="predicted"), tmp_path / "a").run()
    assert run.metrics["accuracy"] is None
    assert run.metrics["MaxBoxAcc"] is not None
    with pytest.raises(ValueError, match="must be 'truth' or 'predicted'"):
        Evaluation(blobs, dataclasses.replace(settings, labels="all"), tmp_path / "b")


def test_unknown_splits_are_refused(settings, tmp_path):
    with pytest.raises(FileNotFoundError, match="splits found: train, val, test"):
        Evaluation(Center(), dataclasses.replace(settings, split="tset"), tmp_path)
    with pytest.raises(ValueError, match="batch_size"):
        Evaluation(Center(), settings, tmp_path).run(batch_size=0)
