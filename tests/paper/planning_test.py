import dataclasses
import json
import shutil
from pathlib import Path

import pytest

import fcam_tf
from fcam_tf import training
from fcam_tf.atomic import write_json
from fcam_tf.claim import SettingsChangedError
from fcam_tf.data import write_shapes
from fcam_tf.paper import Study, planning
from fcam_tf.paper.cells import Cell
from fcam_tf.training import random_search
from tests.commands.conftest import small_backbones  # noqa: F401

SMALL = ("crop=32", "resize=36", "epochs=1", "batch_size=5")
NAME = "efficientnetlite_b0"
FIRST, SECOND = Cell(NAME, "cam"), Cell(NAME, "cam", 0, "fcam")


@pytest.fixture
def study(tmp_path):
    root = write_shapes(tmp_path / "shapes", {"train": 10, "val": 15, "test": 6}, 48)
    return Study(
        *(str(root), tmp_path / "out", "small", SMALL, SMALL, 16, "none"), tell=lambda _: None
    )


def varied(setting):
    return Cell(NAME, "cam", 0, setting, (setting,))


@pytest.mark.usefixtures("small_backbones")
@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (varied("layer=nosuch"), "`layer` is not in the model: 'nosuch'"),
        (varied("layer=P4,P5"), "P4"),  # CAM does not fuse maps
        (varied("decoder_filters=8,4"), "decoder_filters"),
    ],
)
def test_settings_that_only_a_model_refuses(study, cell, message):
    with pytest.raises(ValueError, match=message):
        study.check([FIRST, SECOND, cell])
    assert not study.out.exists()


@pytest.mark.usefixtures("small_backbones")
def test_settings_of_the_classifier_that_only_a_model_refuses(study):
    study = dataclasses.replace(study, classifier_set=(*SMALL, "baseline.drop_rat=0.5"))
    with pytest.raises(ValueError, match="Did you mean 'drop_rate'"):
        study.check([Cell(NAME, "adl")])


@pytest.mark.usefixtures("small_backbones")
@pytest.mark.parametrize(
    ("unfit", "flag"), [("classifier_set", "--classifier-set"), ("fcam_set", "--set")]
)
def test_the_flag_that_is_told_is_that_of_the_stage(study, unfit, flag):
    for name in ("test", "val"):
        Path(study.root, f"metadata/{name}/localization.txt").unlink()
    chosen = dict.fromkeys(("classifier_set", "fcam_set"), (*SMALL, "select=PxAP"))
    study = dataclasses.replace(study, **chosen | {unfit: (*SMALL, "select=MaxBoxAcc")})
    with pytest.raises(ValueError, match=rf"'MaxBoxAcc'.* In a command: {flag} select=PxAP\.$"):
        study.check([FIRST, SECOND])


@pytest.mark.usefixtures("small_backbones")
def test_what_else_is_told_keeps_its_words(study, monkeypatch):
    def refuse(*_):
        raise ValueError("give --set a=1")

    monkeypatch.setattr(training, "check", refuse)
    with pytest.raises(ValueError, match=r"^give --set a=1$"):
        study.check([FIRST])


@pytest.mark.usefixtures("small_backbones")
def test_each_kind_of_model_is_built_once_and_nothing_is_left(study, monkeypatch):
    looked = []

    def look(start, *_):
        looked.append((start.weights, start.weights_identity))

    monkeypatch.setattr(training, "check", look)
    study = dataclasses.replace(study, weights={NAME: "imagenet"})
    seeds = [Cell(NAME, "cam", seed, variant) for seed in range(2) for variant in ("", "fcam")]
    study.check([*seeds, varied("loss.crf=0"), varied("train=all")])
    # The classifier with its weights, the F-CAM, and the one that trains otherwise.
    assert looked == [("imagenet", "imagenet"), ("none", None), ("none", None)]


@pytest.mark.usefixtures("small_backbones")
@pytest.mark.parametrize(("draws", "more"), [(0, ""), (2, ", plus those of searches")])
def test_how_many_are_to_be_trained(study, monkeypatch, draws, more):
    told = []
    monkeypatch.setattr(training, "check", lambda *_: None)
    study = dataclasses.replace(study, draws=draws, tell=told.append)
    study.check([FIRST, SECOND, Cell(NAME, "fsl"), Cell("", "center")])
    assert f"trainings to run in {study.out}: 3{more}" in told
    monkeypatch.setattr(Study, "recalled", lambda *_: "a run")
    told.clear()
    study.check([FIRST, Cell("", "center")])
    assert not any("trainings to run" in line for line in told)


def begin(wanted, **changed):
    """Write what the first epoch of a training leaves, of a recipe with changes."""
    recipe = dataclasses.asdict(wanted.recipe) | changed
    settings = {"stage": "classifier", "method": "cam", "recipe": recipe}
    wanted.folder.mkdir(parents=True)
    write_json(wanted.folder / "run.json", {"settings": settings, "asked": {}})
    write_json(wanted.folder / "state.json", {"epoch": 1, "history": [{}, {}]})


@pytest.mark.usefixtures("small_backbones")
def test_all_that_differs_is_told_before_anything_is_trained(study):
    cells = [Cell(NAME, "cam", seed) for seed in range(3)]
    for cell in cells[:2]:
        begin(study.classifier_for(cell), epochs=7)
    with pytest.raises(SettingsChangedError, match=r"cam-1: .*epochs was 7 and is now 1") as told:
        study.check(cells)
    assert f"{NAME}/cam-0, {NAME}/cam-1: the classifiers' epochs" in str(told.value)
    shutil.rmtree(study.out / NAME / "cam-0")
    shutil.rmtree(study.out / NAME / "cam-1")
    study.check(cells)


@pytest.mark.parametrize(
    ("stage", "text", "told"),
    [
        ("classifier", "recipe.train was 'a' and is now 'b'", "the classifiers' train was 'a' and"),
        ("fcam", "recipe.loss.size was 1 and is now 2", "the F-CAMs' loss.size was 1 and is now 2"),
        ("fsl", "recipe.crop was 1 and is now 2", "full supervision's crop was 1 and is now 2"),
        ("fcam", "train.sha256 was '0a' and is now '0b'", "train has other photos or labels"),
        ("fcam", "train.images was 1 and is now 2", "train.images was 1 and is now 2"),
        ("fcam", "output_stride was 8 and is now 16", "output_stride was 8 and is now 16"),
    ],
)
def test_whose_setting_differs(stage, text, told):
    assert planning._told(stage, text).startswith(told)


@pytest.mark.usefixtures("small_backbones")
def test_a_classifier_that_is_gone_is_told(study, monkeypatch):
    monkeypatch.setattr(training, "check", lambda *_: None)
    told = []
    study = dataclasses.replace(study, tell=told.append)
    folder = study.fcam_for(SECOND, None).folder
    folder.mkdir(parents=True)
    (folder / "best.keras").touch()
    study.check([FIRST, SECOND])
    assert told[-2].startswith(f"{NAME}/cam-0-fcam was trained on {NAME}/cam-0, which is gone")


@pytest.mark.usefixtures("small_backbones")
def test_a_search_of_other_settings_is_told_too(study):
    study = dataclasses.replace(study, draws=1)
    search = study.search_for(FIRST)
    (search.folder / "trial-0").mkdir(parents=True)
    settings = random_search._settings(search.recipe, search.space, 0, search.about)
    write_json(search.folder / "search.json", settings | {"method": "has"})
    with pytest.raises(SettingsChangedError, match="search-cam: method was 'has' and is now 'cam'"):
        study.check([FIRST])


@pytest.mark.usefixtures("small_backbones")
def test_trainings_of_another_version_are_told(study, monkeypatch):
    monkeypatch.setattr(training, "check", lambda *_: None)
    monkeypatch.setattr(planning, "changed_settings", lambda *_: [])
    told = []
    study = dataclasses.replace(study, tell=told.append)
    for seed, version in enumerate(("0.0.9", "0.0.9", fcam_tf.__version__)):
        wanted = study.classifier_for(Cell(NAME, "cam", seed))
        begin(wanted)
        about = json.loads((wanted.folder / "run.json").read_text())
        write_json(wanted.folder / "run.json", about | {"environment": {"fcam_tf": version}})
    study.check([Cell(NAME, "cam", seed) for seed in range(4)])
    (line,) = [line for line in told if "trained by" in line]
    assert line.startswith(
        f"trained by fcam_tf 0.0.9, and taken as they are: {NAME}/cam-0, {NAME}/cam-1; remove them"
    )
