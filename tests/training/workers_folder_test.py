"""The run of a training on several machines, without the machines."""

import dataclasses

import numpy as np
import pytest

from fcam_tf.atomic import write_json
from fcam_tf.training import SettingsChangedError, WorkerLostError, open_run, together, workers
from fcam_tf.training.run_folder import State


@pytest.fixture
def first(tmp_path):
    """Return the folder of the first machine's run, after an epoch."""
    folder = tmp_path / "first"
    with open_run(folder, {"recipe": {"epochs": 3}, "replicas": 2}, 3):
        state = State(1, [{"epoch": 0.0}, {"epoch": 1.0, "loss": 0.5}], 1, "epoch1.weights.h5")
        (folder / state.weights).write_bytes(b"weights")
        (folder / "best.keras").write_bytes(b"best")
        write_json(folder / "state.json", dataclasses.asdict(state))
    return folder


@pytest.fixture
def elsewhere(first, monkeypatch):
    """Be the second of two machines, which hears of the first's run."""
    with open_run(first, {"recipe": {"epochs": 3}, "replicas": 2}, 3) as run:
        packed = workers._packed(run)
    monkeypatch.setattr(workers, "machines", lambda: (1, 2))
    monkeypatch.setattr(workers, "_broadcast", lambda _: packed)


@pytest.mark.usefixtures("elsewhere")
def test_another_machine_has_the_state_in_a_folder_that_goes(tmp_path):
    out = tmp_path / "out"
    with workers.open_together(out, {"recipe": {"epochs": 3}, "replicas": 2}, 3) as run:
        assert (run.state.epoch, run.state.history[1]["loss"]) == (1, 0.5)
        assert (run.folder / run.state.weights).read_bytes() == b"weights"
        assert not run.best.exists()
        folder = run.folder
    assert not folder.exists()
    assert not out.exists()


@pytest.mark.usefixtures("elsewhere")
def test_another_machine_with_other_settings_is_refused(tmp_path):
    settings = {"recipe": {"epochs": 4}, "replicas": 2}
    with (
        pytest.raises(SettingsChangedError, match=r"worker 1 .* recipe.epochs was 3 and is now 4"),
        workers.open_together(tmp_path / "out", settings, 4),
    ):
        pass


@pytest.mark.parametrize("data", [b"", b"12345678", b"123456789"])
def test_bytes_pass_as_numbers(data):
    assert workers._broadcast(data) == data


def test_one_array_is_the_first_machines():
    np.testing.assert_array_equal(workers._of_the_first(np.arange(3)), [0, 1, 2])


def test_a_machine_that_is_lost_is_told_in_a_line(monkeypatch):
    tf = workers.tf
    monkeypatch.setattr(
        tf.distribute, "MultiWorkerMirroredStrategy", tf.distribute.MirroredStrategy
    )
    text = "{{node X}} Collective ops is aborted by: task 1 is gone:\nmore of it"
    with pytest.raises(WorkerLostError, match=r"reached \(task 1 is gone\)\. Give"), together():
        raise tf.errors.UnavailableError(None, None, text)
