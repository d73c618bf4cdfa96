import subprocess
import sys
from pathlib import Path

from tools.install import Progress

INSTALL = Path(__file__).parents[2] / "tools/install.py"


def test_what_pip_says_in_one_line():
    progress = Progress()
    for line in (
        *("Collecting absl-py>=2.1 (from fcam-tf==0.1.0)", "  Downloading absl.whl (135 kB)"),
        *("Collecting keras", "  Using cached keras.whl (1.5 MB)", "Collecting tensorflow"),
        "  Downloading tensorflow.whl (620.5 MB)",
    ):
        progress.read(line)
    assert progress.shown(0) == "3 packages found, 621 MB downloaded"
    progress.read("  Building editable for fcam-tf (pyproject.toml): started")
    assert progress.shown(0).endswith("; Building editable for fcam-tf")
    progress.read("  Building editable for fcam-tf (pyproject.toml): finished with status 'done'")
    assert progress.shown(0).endswith("downloaded")
    progress.read("Installing collected packages: absl-py, keras, tensorflow")
    assert progress.shown(1) == f"[{'#' * 10}{' ' * 20}] 1 of 3 packages installed"
    progress.complete = True
    assert progress.shown(0) == f"[{'#' * 30}] 3 of 3 packages installed"


def test_what_fails_is_told(tmp_path):
    command = [sys.executable, str(INSTALL), "--no-index", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "Neither 'setup.py' nor 'pyproject.toml' found" in ended.stdout
