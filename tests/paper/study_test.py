"""What is trained is looked at by tests/commands/paper_test.py, with whole tables."""

import dataclasses
import json
import shutil
import types

import pytest

from fcam_tf import data, training
from fcam_tf.data import write_shapes
from fcam_tf.identity import file_sha256
from fcam_tf.names import BASELINES
from fcam_tf.paper import Study
from fcam_tf.paper.cells import Cell, work_off
from fcam_tf.paper.planning import SPACES
from fcam_tf.paper.study import trained_for


def test_which_classifiers_are_shared():
    assert trained_for("adl", "accuracy") == "adl"
    assert trained_for("layercam", "accuracy") == "cam"
    # Chosen by their own maps; those of Grad-CAM and XGrad-CAM are the same.
    assert trained_for("layercam", "PxAP") == "layercam"
    assert trained_for("xgradcam", "PxAP") == trained_for("gradcam", "PxAP") == "gradcam"


def test_each_baseline_has_something_to_search():
    assert set(SPACES) == set(BASELINES)


def test_settings_of_a_single_cell_are_checked_first_too(tmp_path):
    write_shapes(tmp_path / "shapes", {"train": 15, "val": 15, "test": 6}, 48)
    study = Study(str(tmp_path / "shapes"), tmp_path / "out", "small")
    with pytest.raises(ValueError, match="Did you mean 'crf'"):
        study.check([Cell("vgg16", "cam"), Cell("vgg16", "cam", 0, "x", ("loss.crff=1",))])
    with pytest.raises(ValueError, match="`seed` is that of the cell"):  # which would win
        study.check([Cell("vgg16", "cam", 0, "x", ("seed=1",))])


@pytest.mark.parametrize("there", [True, False])
def test_val_must_have_the_truth(tmp_path, there):
    root = write_shapes(tmp_path / "shapes", {"train": 10, "val": 5, "test": 5}, 32)
    if there:
        for name in ("localization.txt", "localization_masks.txt"):
            (root / "metadata/val" / name).unlink()
    else:
        shutil.rmtree(root / "metadata/val")
    told = []
    with pytest.raises(ValueError, match="no ground truth for val to choose epochs by: class fold"):
        Study(str(root), tmp_path / "out", "small", tell=told.append).check([])
    assert told == []  # not that the last epoch will be kept


def test_weights_of_one_backbone_leave_the_others_theirs(tmp_path):
    root = str(write_shapes(tmp_path / "shapes", {"train": 10, "val": 5, "test": 5}, 32))
    study = Study(root, tmp_path / "out", "small", weights={"vgg16": "none"})
    wanted = [study.classifier_for(Cell(name, "cam")) for name in ("vgg16", "resnet50")]
    assert [each.start.weights for each in wanted] == ["none", "imagenet"]
    with pytest.raises(ValueError, match="'vgg61'"):
        dataclasses.replace(study, weights={"vgg61": "none"}).check([])


def test_trainings_know_the_weights_that_the_study_began_with(tmp_path):
    root = str(write_shapes(tmp_path / "shapes", {"train": 10, "val": 15, "test": 5}, 32))
    file = tmp_path / "own.weights.h5"
    file.write_bytes(b"first")
    study, first = Study(root, tmp_path / "out", "small", weights=str(file)), file_sha256(file)
    starts = [study.classifier_for(Cell("vgg16", "cam")).start]
    file.write_bytes(b"second")
    starts.append(study.supervised_for(Cell("resnet50", "fsl")).start)
    assert [start.weights_identity for start in starts] == [first, first]
    run = types.SimpleNamespace(best=file)  # a decoder's classifier has its own
    assert study.fcam_for(Cell("vgg16", "cam", 0, "x"), run).start.weights_identity is None


def test_broken_test_photos_are_refused_first_or_left_out(tmp_path):
    root = tmp_path / "shapes"
    write_shapes(root, {"train": 15, "val": 15, "test": 6}, 48)
    name = data.load(str(root), "test").ids[2]
    path = next(root.rglob(name))
    path.write_bytes(b"junk")
    cells = [Cell("", "center")]
    told = []
    with pytest.raises(ValueError, match=rf"--skip-broken:\n.*{path.name}"):
        Study(str(root), tmp_path / "out", "small", tell=told.append).check(cells)
    study = Study(str(root), tmp_path / "out", "small", skip_broken=True, tell=told.append)
    study.check(cells)
    found = work_off(cells, study.score, told.append)
    assert len(found[cells[0]].rows) == 5
    assert any("left out of test" in line and path.name in line for line in told)


def test_a_classifier_that_diverged_is_not_trained_again_for_the_next_row(tmp_path, monkeypatch):
    write_shapes(tmp_path / "shapes", {"train": 15, "val": 15, "test": 6}, 48)
    trained, told = [], []

    def diverge(*arguments, **_):
        trained.append(arguments[4].name)
        raise training.TrainingDivergedError("loss is NaN")

    monkeypatch.setattr(training, "train", diverge)
    study = Study(str(tmp_path / "shapes"), tmp_path / "out", "small", tell=told.append)
    cells = [Cell("vgg16", "cam"), Cell("vgg16", "cam", 0, "fcam"), Cell("vgg16", "cam", 1)]
    with pytest.raises(RuntimeError, match="nothing was measured"):
        work_off(cells, study.score, told.append)
    assert trained == ["cam-0", "cam-1"]
    assert "2 of 3: vgg16, cam + fcam, seed 0: loss is NaN" in told


def test_a_value_with_a_slash_does_not_leave_the_folder(tmp_path, monkeypatch):
    study = Study(str(tmp_path), tmp_path / "out")
    first = types.SimpleNamespace(best=tmp_path / "best.keras")
    first.best.write_bytes(b"")
    recipe = training.get("fcam", "small")
    monkeypatch.setattr(Study, "classifier", lambda *_: first)
    monkeypatch.setattr(Study, "_splits_and_recipe", lambda *_: (None, recipe))
    monkeypatch.setattr(Study, "_trained", lambda *arguments: arguments[-1])
    wanted = study.fcam(Cell("vgg16", "cam", 0, "layer=../../x, y"))
    assert wanted.folder == tmp_path / "out" / "vgg16" / "cam-0-layer=..%2F..%2Fx, y"


def test_variants_whose_stored_maps_are_others_keep_them_in_their_runs(tmp_path):
    root = write_shapes(tmp_path / "shapes", {"train": 5, "val": 5, "test": 1}, 48)
    study = Study(str(root), tmp_path / "out", "small", fcam_set=("cams=stored",))
    settings = ("loss.crf=0", "stored_flip=true", "crop=32", "stored_flip=false")
    found = [study.fcam_for(Cell("vgg16", "cam", 0, text, (text,)), None) for text in settings]
    shared = tmp_path / "out/vgg16/cam-0-cams"
    assert [each.start.cams for each in found] == [shared, None, None, shared]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fcam_set": ("loss.crv=0",)}, "Did you mean 'crf'"),
        (
            {"fcam_set": ("select=PxAP",)},
            "has too few images of each class",
        ),  # for full supervision
        ({"classifier_set": ("epoch=1",)}, "Did you mean 'epochs'"),
        ({"fcam_set": ("seed=1",)}, "`seed` is that of the cell"),
        ({"classifier_set": ("seed=1",)}, "`seed` is that of the cell"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_trained(tmp_path, options, message):
    write_shapes(tmp_path / "shapes", {"train": 2, "val": 2, "test": 2}, 48)
    study = Study(str(tmp_path / "shapes"), tmp_path / "out", **options)
    with pytest.raises(ValueError, match=message):
        study.check([Cell("vgg16", "fsl")])
    assert not (tmp_path / "out").exists()


def test_the_reduced_list_is_for_the_search_alone(tmp_path, monkeypatch):
    root = write_shapes(tmp_path / "shapes", {"train": 5, "val": 5, "test": 1}, 48)
    ids = (root / "metadata/train/image_ids.txt").read_text().split()
    (root / "metadata/train/image_ids_proxy.txt").write_text("\n".join(ids[:3]))
    study = Study(str(root), tmp_path / "out", classifier_set=("proxy=true",), draws=1)
    asked = []

    def search(_, recipe, __, folder, **___):
        asked.append(recipe)
        folder.mkdir(parents=True)
        (folder / "best.json").write_text(json.dumps(dataclasses.asdict(recipe)))

    monkeypatch.setattr(training, "search", search)
    done = lambda folder, _: [] if (folder / "best.json").exists() else None  # noqa: E731
    monkeypatch.setattr(training, "recall_search", done)
    monkeypatch.setattr(training, "train", lambda *given, **_: given[3][0].ids)
    assert study.classifier(Cell("vgg16", "cam")) == tuple(ids)
    assert asked[0].proxy
    plain = dataclasses.replace(study, draws=0)
    assert plain.classifier(Cell("vgg16", "cam")) == tuple(ids[:3])
