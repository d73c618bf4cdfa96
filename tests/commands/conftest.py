import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

from fcam_tf import training
from fcam_tf.atomic import write_json
from fcam_tf.models import BACKBONES
from fcam_tf.training.run_folder import State
from tests.models.tiny import tiny_backbone

TRAINED = pytest.param("trained", marks=pytest.mark.slow)


@pytest.fixture
def plain_report(monkeypatch):
    """Write reports without figures, which take seconds; tests/report looks at those."""

    def write_report(run, *others):
        file = run.out / "report.html"
        file.write_text(" ".join(each.settings.title for each in (run, *others)))
        return file

    monkeypatch.setattr("fcam_tf.report.write_report", write_report)


@pytest.fixture
def small_backbones(monkeypatch):
    """Have five convolutions in place of the backbones that are trained by name."""
    for name in ("efficientnetlite_b0", "mobilenet_v3_large"):
        monkeypatch.setitem(BACKBONES, name, tiny_backbone(name))


class Trainings(list):
    """What each training was asked for, and the history that the next ones leave behind."""

    history = ({"epoch": 0.0, "val_MaxBoxAcc": 30.0}, {"epoch": 1.0, "val_MaxBoxAcc": 40.0})


@pytest.fixture
def trainings(request, monkeypatch):
    """Write what a training leaves behind instead of training; with "trained", do train."""
    found, real = Trainings(), training.train

    def train(stage, start, recipe, splits, out, *, asked=None):
        images = [split and len(split) for split in splits]
        found.append(SimpleNamespace(stage=stage, start=start, recipe=recipe, images=images))
        found[-1].out = Path(out).name
        if getattr(request, "param", "told") == "trained":
            return real(stage, start, recipe, splits, out, asked=asked)
        with training.open_run(out, {"recipe": dataclasses.asdict(recipe)}, 1, asked) as run:
            best = max(range(2), key=lambda row: [*found.history[row].values()][1])
            run.state = State(1, found.history, best, "epoch1.weights.h5")
            write_json(run.folder / "state.json", dataclasses.asdict(run.state))
            for file in (run.best, run.folder / "convergence.png"):
                file.touch()
        return run

    monkeypatch.setattr("fcam_tf.training.train", train)
    return found
