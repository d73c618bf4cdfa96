import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fcam_tf import data
from fcam_tf.atomic import locked
from fcam_tf.claim import FolderBusyError, SettingsChangedError, claim
from fcam_tf.evaluation import Center, Evaluation, ModelMaps, StoredEvaluation
from fcam_tf.evaluation.evaluation import check_split
from tests.models.tiny import tiny_classifier

HEADLINES = ("MaxBoxAcc", "MaxBoxAccV2", "PxAP", "Top1Loc", "Top5Loc", "accuracy")

KILLED = """
import os, sys
from fcam_tf.evaluation import Center, Evaluation, EvaluationSettings

class Deadly(Center):
    calls = 0
    def __call__(self, *batch):
        self.calls += 1
        if self.calls == 9:
            os._exit(9)
        return super().__call__(*batch)

settings = EvaluationSettings(method="center", data=sys.argv[1], split="test")
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
    assert StoredEvaluation(finished.out).rows == finished.rows


@pytest.mark.slow
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
        StoredEvaluation(tmp_path / "a")
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
    load = data.load

    def moved(folder, name):
        split = load(folder, name)
        return dataclasses.replace(split, **change(split))

    monkeypatch.setattr("fcam_tf.evaluation.stored.load", moved)
    with pytest.raises(SettingsChangedError, match="truth_sha256"):
        Evaluation(Center(), settings, tmp_path / "out")


def test_a_folder_of_something_else_is_left_alone(settings, tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(SettingsChangedError, match="something other than an evaluation"):
        Evaluation(Center(), settings, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["holiday.jpg"]


def test_goes_on_after_a_kill_while_its_settings_were_written(settings, finished, tmp_path):
    half = tmp_path / "a" / ".settings.json.part" / "tmp01234567" / "settings.json"
    half.parent.mkdir(parents=True)
    half.write_text('{"settings": {"me')
    plain = dataclasses.replace(settings, threshold_split="val")
    assert Evaluation(Center(), plain, tmp_path / "a").run().rows == finished.rows
    assert not list((tmp_path / "a").glob(".*"))


def test_says_so_where_another_process_writes_its_settings(settings, tmp_path):
    (tmp_path / ".settings.json.part").mkdir()
    with locked(tmp_path), pytest.raises(FolderBusyError, match="another process is writing"):
        Evaluation(Center(), settings, tmp_path)


def test_splits_without_truth_are_refused(split):
    none = dataclasses.replace(split, boxes=None, masks=None)
    with pytest.raises(ValueError, match="split 'test' has neither boxes nor masks"):
        check_split(none)
    holes = [split.boxes[0], np.zeros((0, 4), int), *split.boxes[2:]]
    with pytest.raises(ValueError, match=rf"1 of 12 images .* have no box: {split.ids[1]}\."):
        check_split(dataclasses.replace(split, boxes=tuple(holes)))
    with pytest.raises(ValueError, match=r"12 of 12 images .* have no mask: .*, "):
        check_split(dataclasses.replace(split, masks=((),) * 12))


def test_true_classes_cannot_be_asked_of_a_model_of_others(blobs, settings, tmp_path):
    blobs.num_classes = 1000
    with pytest.raises(ValueError, match=r"model has 1000 classes, the data set 5.*'predicted'"):
        Evaluation(blobs, settings, tmp_path / "a")
    blobs.num_classes, blobs.class_names = 5, ("disc", "star", "square", "triangle", "cross")
    with pytest.raises(ValueError, match="'star' instead of 'square'"):
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


def copied(shapes, tmp_path, settings):
    """A data set of its own, to be changed."""
    root = tmp_path / "data"
    shutil.copytree(shapes, root)
    return root, dataclasses.replace(settings, data=str(root))


def recall(settings, out, source=None):
    """Return the evaluation that is finished, if it is what is asked for."""
    try:
        return Evaluation(source or Center(), settings, out).finished
    except SettingsChangedError:
        return None


def not_needed():
    raise AssertionError("no model is needed")


def test_a_finished_evaluation_is_recalled_without_its_source(settings, tmp_path):
    settings = dataclasses.replace(settings, model_sha256="abc")
    assert recall(settings, tmp_path / "a") is None
    run = Evaluation(Center(), settings, tmp_path / "a").run()
    again = recall(settings, tmp_path / "a")
    assert (again.settings, again.metrics, again.rows) == (run.settings, run.metrics, run.rows)
    job = Evaluation(not_needed, settings, tmp_path / "a")
    assert job.run() is job.finished
    assert job.settings == run.settings
    assert recall(dataclasses.replace(settings, method=""), tmp_path / "a") is None


def test_what_was_left_to_the_model_is_recalled_by_what_was_asked(settings, tmp_path):
    model, told = tiny_classifier(classes=5), []
    asked = dataclasses.replace(settings, method="", labels="", model_sha256="abc")
    run = Evaluation(lambda: model, asked, tmp_path, tell=told.append).run()
    assert told == ["maps of layercam at relu2"]
    made = (run.settings.method, run.settings.layer, run.settings.labels)
    assert made == ("layercam", "relu2", "truth")
    assert run.metrics["settings"]["layer"] == "relu2"
    assert recall(asked, tmp_path, not_needed).settings == run.settings
    # It counts as what it came to.
    named = dataclasses.replace(run.settings, truth_sha256="")
    assert recall(named, tmp_path, lambda: model) is None
    Evaluation(lambda: model, named, tmp_path).run()
    assert recall(named, tmp_path, not_needed).settings == run.settings
    (tmp_path / "metrics.json").unlink()
    assert recall(named, tmp_path, lambda: model) is None


def test_another_version_is_asked_anew(settings, tmp_path, monkeypatch):
    Evaluation(Center(), settings, tmp_path).run()
    monkeypatch.setattr("fcam_tf.evaluation.evaluation.__version__", "99")
    assert recall(settings, tmp_path) is None
    Evaluation(Center(), settings, tmp_path).run()
    assert recall(settings, tmp_path)


def test_a_model_of_another_place_is_the_same_and_another_model_is_not(settings, tmp_path):
    first = dataclasses.replace(settings, model="/a/net.keras", model_sha256="abc")
    run = Evaluation(Center(), first, tmp_path).run()
    assert run.settings.model == "/a/net.keras"
    moved = dataclasses.replace(first, model="/b/link.keras")
    assert recall(moved, tmp_path).metrics["MaxBoxAcc"] == run.metrics["MaxBoxAcc"]
    Evaluation(Center(), moved, tmp_path).run()
    other = dataclasses.replace(first, model_sha256="def")
    assert recall(other, tmp_path) is None
    with pytest.raises(SettingsChangedError, match="model_sha256 was 'abc' and is now 'def'"):
        Evaluation(Center(), other, tmp_path)


def test_models_in_memory_are_told_by_their_weights(settings, tmp_path):
    labels = dataclasses.replace(settings, method="cam", labels="predicted")
    first, second = (ModelMaps(tiny_classifier(), "cam") for _ in range(2))
    run = Evaluation(first, labels, tmp_path).run()
    assert run.settings.model_sha256 == first.model_sha256
    with pytest.raises(SettingsChangedError, match="model_sha256 was"):
        Evaluation(second, labels, tmp_path)
    # Nobody said which model is loaded: it may be any.
    with pytest.raises(SettingsChangedError, match="model_sha256 was"):
        Evaluation(lambda: second.model, labels, tmp_path)
    assert not Evaluation(lambda: first.model, labels, tmp_path).finished


def test_a_replaced_image_is_scored_anew(shapes, settings, tmp_path, monkeypatch):
    monkeypatch.setattr("fcam_tf.evaluation.scoring.PART", 4)
    root, settings = copied(shapes, tmp_path, settings)
    Evaluation(Center(), settings, tmp_path / "out").run()
    parts = sorted((tmp_path / "out" / "parts").iterdir())
    before = [file.stat().st_mtime_ns for file in parts]
    split = data.load(root, "test")
    split.paths[5].write_bytes(split.paths[0].read_bytes())  # of the second part
    assert recall(settings, tmp_path / "out") is None
    Evaluation(Center(), settings, tmp_path / "out").run()
    after = [file.stat().st_mtime_ns for file in parts]
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, False, True]
    assert recall(settings, tmp_path / "out")


def test_a_table_that_was_cut_is_written_again(settings, tmp_path):
    run = Evaluation(Center(), settings, tmp_path).run()
    table = tmp_path / "results.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:5]))
    assert recall(settings, tmp_path) is None
    assert Evaluation(Center(), settings, tmp_path).run().rows == run.rows


def test_a_photo_that_is_replaced_while_it_is_scored_is_scored_again(
    shapes, settings, tmp_path, blobs
):
    root, settings = copied(shapes, tmp_path, settings)
    split = data.load(root, "test")

    class Replacing(type(blobs)):
        def __call__(self, ids, images, labels):
            if split.ids[3] in ids:  # it has been read
                split.paths[3].write_bytes(split.paths[4].read_bytes())
            return super().__call__(ids, images, labels)

    Evaluation(Replacing(), settings, tmp_path / "out").run(batch_size=2)
    Evaluation(blobs, settings, tmp_path / "out").run()
    assert split.ids[3] in blobs.seen
    assert recall(settings, tmp_path / "out", blobs)


def test_data_that_was_moved_or_copied_is_the_same(shapes, settings, tmp_path, monkeypatch):
    root, settings = copied(shapes, tmp_path, settings)
    run = Evaluation(Center(), settings, tmp_path / "out").run()
    moved = Path(shutil.move(root, tmp_path / "moved"))
    found = recall(dataclasses.replace(settings, data=str(moved)), tmp_path / "out")
    assert found.rows == run.rows
    assert found.split.paths[0].is_file()
    # Also for what only reads the folder.
    assert StoredEvaluation(tmp_path / "out").settings.data == str(moved)
    copy = shutil.copytree(moved, tmp_path / "copy", copy_function=shutil.copyfile)
    again = dataclasses.replace(settings, data=str(copy))
    assert recall(again, tmp_path / "out").rows == run.rows
    # From now on by size and time of change, without a look at the bytes.
    monkeypatch.setattr("fcam_tf.identity.file_sha256", None)
    assert recall(again, tmp_path / "out").rows == run.rows


def test_data_elsewhere_that_differs_is_scored_anew(shapes, settings, tmp_path):
    root, settings = copied(shapes, tmp_path, settings)
    Evaluation(Center(), settings, tmp_path / "out").run()
    other = shutil.copytree(root, tmp_path / "other", copy_function=shutil.copyfile)
    split = data.load(other, "test")
    split.masks[0][0].write_bytes(split.masks[7][0].read_bytes())
    settings = dataclasses.replace(settings, data=str(other))
    assert recall(settings, tmp_path / "out") is None
    found = Evaluation(Center(), settings, tmp_path / "out").run()
    whole = Evaluation(Center(), settings, tmp_path / "new").run()
    assert found.metrics["PxAP"] == whole.metrics["PxAP"]
    assert StoredEvaluation(tmp_path / "out").settings.data == str(other)


def test_a_replaced_mask_gives_its_own_scores(shapes, settings, tmp_path):
    root, settings = copied(shapes, tmp_path, settings)
    stale = Evaluation(Center(), settings, tmp_path / "out").run()
    split = data.load(root, "test")
    split.masks[0][0].write_bytes(split.masks[7][0].read_bytes())
    found = Evaluation(Center(), settings, tmp_path / "out").run()
    whole = Evaluation(Center(), settings, tmp_path / "new").run()
    assert found.metrics["PxAP"] == whole.metrics["PxAP"] != stale.metrics["PxAP"]


def test_metrics_never_stand_beside_other_scores(shapes, settings, tmp_path):
    root, settings = copied(shapes, tmp_path, settings)
    Evaluation(Center(), settings, tmp_path / "out").run()
    split = data.load(root, "test")
    split.masks[0][0].write_bytes(split.masks[7][0].read_bytes())

    class Stopping(Center):
        def __call__(self, *_):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Evaluation(Stopping(), settings, tmp_path / "out").run()
    with pytest.raises(FileNotFoundError, match="no finished evaluation"):
        StoredEvaluation(tmp_path / "out")


def test_a_second_one_is_refused_while_the_first_writes(settings, tmp_path):
    job = Evaluation(Center(), settings, tmp_path)
    with (
        claim(tmp_path, {}, [], file="other.json"),
        pytest.raises(FolderBusyError, match="another process is writing"),
    ):
        job.run()
    job.run()


def test_nothing_is_dropped_before_a_run_begins(settings, tmp_path):
    run = Evaluation(Center(), settings, tmp_path).run()
    other = dataclasses.replace(settings, labels="predicted")
    with pytest.raises(ValueError, match="batch_size"):
        Evaluation(Center(), other, tmp_path, overwrite=True).run(batch_size=0)
    assert StoredEvaluation(tmp_path).metrics == run.metrics


@pytest.mark.parametrize(
    "text", ['{"method": "center", "split": "test"}', '{"settings": {"old": 1}}', "{", "[]"]
)
def test_a_folder_of_another_version_is_refused_in_one_line(settings, tmp_path, text):
    Evaluation(Center(), settings, tmp_path).run()
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(ValueError, match="holds an evaluation that cannot be read, perhaps of an"):
        StoredEvaluation(tmp_path)
    what = (
        "another command or version" if '": ' in text else "other settings: .* missing or damaged"
    )
    with pytest.raises(SettingsChangedError, match=f"holds results of {what}"):
        Evaluation(Center(), settings, tmp_path)
    Evaluation(Center(), settings, tmp_path, overwrite=True).run()
    assert StoredEvaluation(tmp_path)


def test_figures_that_are_gone_are_made_anew(settings, tmp_path):
    run = Evaluation(Center(), settings, tmp_path).run()
    (tmp_path / "metrics.json").write_text("{}")  # as somebody's hand may leave it
    with pytest.raises(ValueError, match="holds an evaluation that cannot be read"):
        StoredEvaluation(tmp_path)
    assert Evaluation(Center(), settings, tmp_path).run().metrics == run.metrics
