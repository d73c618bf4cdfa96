import subprocess
import sys

import numpy as np
import pytest

from fcam_tf import models
from fcam_tf.models import FCAM
from tests.models.tiny import photos, tiny_classifier


def test_files_and_runs(tmp_path):
    model = FCAM.from_classifier(tiny_classifier(), decoder_filters=(4, 4, 4))
    model.save(tmp_path / "best.keras")
    for path in (tmp_path, tmp_path / "best.keras", str(tmp_path)):
        loaded = models.load(path)
        np.testing.assert_array_equal(loaded(photos())["fcam"], model(photos())["fcam"])
        assert loaded.loss is not None


def test_in_a_new_process(tmp_path):
    FCAM.from_classifier(tiny_classifier(), decoder_filters=(4, 4, 4)).save(tmp_path / "a.keras")
    code = "import sys, fcam_tf; print(type(fcam_tf.models.load(sys.argv[1])).__name__)"
    found = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.keras"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "FCAM"


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        models.load(tmp_path / "a.keras")
    with pytest.raises(FileNotFoundError, match="no finished epoch"):
        models.load(tmp_path)
    (tmp_path / "a.keras").write_text("no")
    with pytest.raises(ValueError, match=r"a\.keras"):
        models.load(tmp_path / "a.keras")
