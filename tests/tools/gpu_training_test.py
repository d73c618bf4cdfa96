import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fcam_tf import zoo
from fcam_tf.data import write_shapes
from fcam_tf.models import BACKBONES
from tests.children import UNDER_JAX
from tests.models.tiny import tiny_backbone

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"
TRAIN = """
import sys
import gpu_training
from fcam_tf.models import BACKBONES
from tests.models.tiny import tiny_backbone
BACKBONES["resnet50"] = tiny_backbone("resnet50")
gpu_training.SCALES = (1.0, 2.0)  # XLA compiles each one
gpu_training.start(gpu_training.main)
"""


@pytest.fixture
def without_tensorflow(tmp_path):
    """Return the environment of a machine without TensorFlow and what needs it."""
    for name in ("tensorflow", "keras_cv"):
        error = f"raise ModuleNotFoundError('there is no {name}', name='{name}')"
        (tmp_path / "missing").mkdir(exist_ok=True)
        (tmp_path / "missing" / f"{name}.py").write_text(error)
    return {
        **UNDER_JAX,
        "PYTHONPATH": os.pathsep.join(map(str, (tmp_path / "missing", TOOLS, ROOT))),
    }


def run(command, environment):
    pytest.importorskip("jax")
    found = subprocess.run(
        [sys.executable, *map(str, command)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.slow
@pytest.mark.longest
def test_all_stages_on_the_cpu(tmp_path, without_tensorflow, monkeypatch):
    data = write_shapes(tmp_path / "shapes", {"train": 10, "val": 5, "test": 5}, size=48)
    out = tmp_path / "run"
    train = ["-c", TRAIN, "--data", data, "--out", out, "--side=32", "--steps=2"]
    for stage in ("classifier_set", "tune_set", "set"):
        train += [f"--{stage}=crop=32", f"--{stage}=batch_size=5", f"--{stage}=epochs=1"]
    train += ["--set=epochs=2"]
    assert "{'train': 10, 'val': 5, 'test': 5}" in run(train, without_tensorflow)
    stages = ("classifier", "tuned", "layercam")
    names = {*stages, "classifier.safetensors", "tuned.safetensors", "zoo", "scores.json"}
    assert {path.name for path in out.iterdir()} == names
    scores = json.loads((out / "scores.json").read_text())
    assert scores.keys() == {*stages, "test"}
    found = scores["layercam"]["test"]
    assert {"MaxBoxAcc", "MaxBoxAccV2", "PxAP", "accuracy"} <= found.keys()
    assert all(0 <= value <= 100 for value in found.values())
    rows = (out / "layercam" / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "0", "1", "2"]
    assert "crf_loss" in rows[0]
    # What is there is not trained again; a stage that lost its weights alone is read from its run.
    shutil.rmtree(out / "zoo")
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.*") if path.parent != out}
    run(train, without_tensorflow)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert json.loads((out / "scores.json").read_text())["layercam"]["test"] == found
    # Under TensorFlow the entry answers as it did, and is trained further by what taught it.
    monkeypatch.setitem(BACKBONES, "resnet50", tiny_backbone("resnet50"))
    monkeypatch.setenv("FCAM_ZOO", str(out / "zoo"))
    card, model = zoo.card("resnet50_layercam"), zoo.load("resnet50_layercam")
    zoo.verify(card, model)
    assert (model.teacher.scales, model.teacher.flip) == ((1, 2), True)
    assert (model.num_classes, model.input_size) == (5, 32)
    assert card["recipe"]["layercam"]["epochs"] == 2
