import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"
READ = """
import sys
from pathlib import Path
import gpu_graphs, keras
SOURCE
from fcam_tf import models
for stride in (8, 32):
    model = models.Classifier("efficientnetlite_b0", 3, output_stride=stride, weights=None)
    top = keras.Model(model.inputs, model.feature_maps["P5"])
    print(model.count_params(), top.compute_output_shape((1, 64, 64, 3)))
"""


def run(*command, missing="", backend="tensorflow"):
    paths = os.pathsep.join(filter(None, map(str, (missing, TOOLS, ROOT))))
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_backbones_are_built_without_keras_cv(tmp_path):
    """Each output stride has a graph of its own, and the networks are those of keras-cv."""
    pytest.importorskip("jax")
    graphs, missing = tmp_path / "graphs", tmp_path / "missing"
    run(TOOLS / "gpu_graphs.py", "efficientnetlite_b0", "--out", graphs)
    assert len(list(graphs.iterdir())) == 2
    missing.mkdir()
    for name in ("tensorflow", "keras_cv"):
        (missing / f"{name}.py").write_text("raise ModuleNotFoundError(__name__)")
    found = run(
        "-c",
        READ.replace("SOURCE", "gpu_graphs.use(Path(sys.argv[1]))"),
        graphs,
        missing=missing,
        backend="jax",
    )
    assert found == run("-c", READ.replace("SOURCE", ""), graphs)
    assert [line.rpartition("(")[2] for line in found] == ["1, 8, 8, 1280)", "1, 2, 2, 1280)"]
