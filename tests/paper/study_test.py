"""What is trained is looked at by tests/commands/paper_test.py, with whole tables."""

import dataclasses
import json

import pytest

from fcam_tf import training
from fcam_tf.data import write_shapes
from fcam_tf.names import BASELINES
from fcam_tf.paper import Study
from fcam_tf.paper.cells import Cell
from fcam_tf.paper.study import SPACES, trained_for


def test_which_classifiers_are_shared():
    assert trained_for("adl", "accuracy") == "adl"
    assert trained_for("layercam", "accuracy") == "cam"
    # Chosen by their own maps; those of Grad-CAM and XGrad-CAM are the same.
    assert trained_for("layercam", "PxAP") == "layercam"
    assert trained_for("xgradcam", "PxAP") == trained_for("gradcam", "PxAP") == "gradcam"


def test_each_baseline_has_something_to_search():
    assert set(SPACES) == set(BASELINES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fcam_set": ("loss.crv=0",)}, "Did you mean 'crf'"),
        ({"fcam_set": ("select=PxAP",)}, "split 'val' is too small"),  # for full supervision
        ({"classifier_set": ("epoch=1",)}, "Did you mean 'epochs'"),
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
    monkeypatch.setattr(training, "train", lambda *given, **_: given[3][0].ids)
    assert study.classifier(Cell("vgg16", "cam")) == tuple(ids)
    assert asked[0].proxy
    plain = dataclasses.replace(study, draws=0)
    assert plain.classifier(Cell("vgg16", "cam")) == tuple(ids[:3])
