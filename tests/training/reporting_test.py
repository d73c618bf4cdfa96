from types import SimpleNamespace

import pytest

from fcam_tf.data import load, write_shapes
from fcam_tf.training import reporting


@pytest.mark.parametrize("skip_broken", [False, True])
def test_broken_test_photos_are_left_out_of_the_report(tmp_path, monkeypatch, skip_broken):
    root = write_shapes(tmp_path / "shapes", {"train": 5, "val": 5, "test": 6}, 48)
    split = load(str(root), "test")
    split.paths[1].write_bytes(b"no photo")
    asked = []
    monkeypatch.setattr(reporting, "evaluated", lambda *_, left_out, **__: asked.extend(left_out))
    monkeypatch.setattr("fcam_tf.report.write_report", lambda _: None)
    run = SimpleNamespace(folder=tmp_path, settings={"stage": "fcam"})
    told = []
    reporting.report(run, str(root), None, skip_broken=skip_broken, tell=told.append)
    assert asked == ([split.ids[1]] if skip_broken else [])
    assert len(told) == skip_broken
