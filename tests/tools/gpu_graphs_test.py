import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import UNDER_JAX, Child

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"
SHOW = """
import keras
from fcam_tf import models
for stride in (8, 32):
    model = models.Classifier("efficientnetlite_b0", 3, output_stride=stride, weights=None)
    top = keras.Model(model.inputs, model.feature_maps["P5"])
    print(model.count_params(), top.compute_output_shape((1, 64, 64, 3)))
"""
WRITE = f"""
import sys
sys.path.insert(0, {str(TOOLS)!r})
import gpu_graphs
gpu_graphs.main()
{SHOW}
"""
READ = f"""
import sys
from pathlib import Path
import gpu_graphs
gpu_graphs.use(Path(sys.argv[1]))
{SHOW}
"""


@pytest.mark.slow
@pytest.mark.longest
def test_backbones_are_built_without_keras_cv(tmp_path):
    """Each output stride has a graph of its own, and the networks are those of keras-cv."""
    pytest.importorskip("jax")
    graphs, missing = tmp_path / "graphs", tmp_path / "missing"
    child = Child(WRITE, ["efficientnetlite_b0", "--out", graphs])
    wanted, error = child.communicate()
    assert child.poll() == 0, error
    assert len(list(graphs.iterdir())) == 2
    missing.mkdir()
    for name in ("tensorflow", "keras_cv"):
        (missing / f"{name}.py").write_text("raise ModuleNotFoundError(__name__)")
    paths = os.pathsep.join(map(str, (missing, TOOLS, ROOT)))
    found = subprocess.run(
        [sys.executable, "-c", READ, graphs],
        env={**os.environ, **UNDER_JAX, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout == wanted
    shapes = [line.rpartition("(")[2] for line in found.stdout.splitlines()]
    assert shapes == ["1, 8, 8, 1280)", "1, 2, 2, 1280)"]
