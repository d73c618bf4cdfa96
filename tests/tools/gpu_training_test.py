import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fcam_tf.data import write_shapes

TOOLS = Path(__file__).parents[2] / "tools"
TRAIN = """
import sys
import gpu_training
from absl import app
from fcam_tf.models import BACKBONES
from tests.models.tiny import tiny_backbone
BACKBONES["resnet50"] = tiny_backbone("resnet50")
gpu_training._SCALES = (1.0, 2.0)  # XLA compiles each one
app.run(gpu_training.main, [sys.argv[0], *sys.argv[1:]])
"""


def run(command, backend):
    paths = os.pathsep.join([str(TOOLS), str(TOOLS.parent)])
    found = subprocess.run(
        [sys.executable, *map(str, command)],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "PYTHONPATH": paths,
            # Compiling takes most of the time, and little is computed.
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.slow
def test_all_stages_from_packs_on_the_cpu(tmp_path):
    pytest.importorskip("jax")
    data = write_shapes(tmp_path / "shapes", {"train": 10, "val": 5, "test": 5}, size=48)
    packs = [tmp_path / f"shapes-{i}.xz" for i in range(2)]
    pack = [TOOLS / "gpu_packs.py", "--data", data, "--out", tmp_path, "--frame=32"]
    assert run([*pack, "--shares=0.5,0.5"], "tensorflow").count("MiB") == 2
    out = tmp_path / "run"
    train = ["-c", TRAIN, "--packs", ",".join(map(str, packs)), "--out", out, "--epochs=1,1,2"]
    train += ["--side=32", "--size=32", "--batch_size=5", "--steps=2"]
    told = run(train, "jax")
    assert "{'train': 10, 'val': 5, 'test': 5}" in told
    names = ("classifier.h5", "layercam.h5", "log.csv", "scores.json", "tuned.h5")
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    scores = json.loads((out / "scores.json").read_text())
    assert scores.keys() == {"classifier", "tuned", "layercam", "test"}
    found = scores["layercam"]["test"]
    assert found.keys() == {"MaxBoxAcc", "MaxBoxAccV2", "accuracy"}
    assert all(0 <= value <= 100 for value in found.values())
    stages = [line.split(",")[0] for line in (out / "log.csv").read_text().splitlines()]
    assert list(dict.fromkeys(stages)) == ["classifier", "tuned", "layercam"]
    # What is there is not trained again.
    stamps = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    run(train, "jax")
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == stamps
