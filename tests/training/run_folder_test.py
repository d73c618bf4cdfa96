import csv
import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from fcam_tf.training import (
    FolderBusyError,
    RunFolder,
    SettingsChangedError,
    open_run,
    recall_run,
)
from fcam_tf.training.run_folder import changed_settings
from tests.models.tiny import tiny_classifier


def model():
    net = tiny_classifier()
    net.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    return net


def test_a_new_folder_says_what_it_is(tmp_path):
    with open_run(tmp_path / "a" / "b", {"x": (1, 2)}, 3) as run:
        about = json.loads((run.folder / "run.json").read_text())
    assert about["settings"] == {"x": [1, 2]}
    assert {"python", "keras", "fcam_tf", "backend"} <= set(about["environment"])
    assert not run.finished
    with open_run(tmp_path / "a" / "b", {"x": (1, 2)}, 3):
        pass


def test_other_settings_are_refused(tmp_path):
    with open_run(tmp_path, {"x": 5}, 3):
        pass
    with open_run(tmp_path, {"x": 1, "y": {"a": 2}, "z": 3}, 3) as run:  # nothing was reached yet
        run.save_epoch(model(), 0, {}, best=True)
    with (
        pytest.raises(
            SettingsChangedError,
            match=r"x was 1 and is now 2, y\.a was 2 and is now 4, z was 3 and is now not set",
        ),
        open_run(tmp_path, {"x": 2, "y": {"a": 4}}, 3),
    ):
        pass


def test_a_run_that_goes_on_with_files_of_other_times_warns(tmp_path):
    with open_run(tmp_path, {}, 2, times="a"):
        pass
    with open_run(tmp_path, {}, 2, times="b") as run:  # nothing was scored yet
        run.save_epoch(model(), 0, {}, best=True)
    with open_run(tmp_path, {}, 2, times="b"):
        pass
    with open_run(tmp_path, {}, 2, times=None):  # as a worker of a cluster, whose data is a copy
        pass
    with open_run(tmp_path, {}, 2, times="b") as run:
        run.save_epoch(model(), 1, {}, best=True)
    with pytest.warns(UserWarning, match="remove the folder"), open_run(tmp_path, {}, 2, times="c"):
        pass


def test_a_finished_run_is_recalled_with_files_of_other_times(tmp_path):
    asked = {"method": "cam", "times": "a"}
    with open_run(tmp_path, {"recipe": {"epochs": 0}}, 0, asked) as run:
        run.save_epoch(model(), 0, {}, best=True)
        (tmp_path / "convergence.png").touch()
    assert recall_run(tmp_path, asked)
    with pytest.warns(UserWarning, match="remove the folder"):
        assert recall_run(tmp_path, {**asked, "times": "b"})
    assert recall_run(tmp_path, {**asked, "method": "layercam", "times": "b"}) is None


def test_a_state_that_cannot_be_read_is_refused(tmp_path):
    for text in (
        *('{"epoch": 1, "reached": 2}', '{"epoch": ', "[]", "[" * 100_000, '{"epoch": "1"}'),
        *('{"history": [1]}', '{"history": {}}', '{"best": 1}', '{"weights": 3}'),
        '{"weights": "../epoch1.weights.h5"}',  # which the next epoch would remove
    ):
        (tmp_path / "state.json").write_text(text)
        with pytest.raises(SettingsChangedError, match=r"state\.json cannot be read"):
            RunFolder(tmp_path, 3)


def test_a_second_training_deletes_nothing(tmp_path):
    with open_run(tmp_path, {}, 2) as run:
        run.save_epoch(model(), 0, {}, best=True)
        fresh = tmp_path / "epoch1.weights.h5"  # as between two steps of `save_epoch`
        fresh.write_bytes(b"of the first")
        with pytest.raises(FolderBusyError, match="another process"), open_run(tmp_path, {}, 2):
            pass
        assert fresh.exists()


def test_epochs_are_kept(tmp_path):
    with open_run(tmp_path, {}, 2) as run:
        pass
    net = model()
    net.fit(np.ones((2, 16, 16, 3)), np.ones((2, 3)), verbose=0)
    run.save_epoch(net, 0, {"val_PxAP": 5.0}, best=True)
    best = net.get_layer("logits").get_weights()[0]
    net.fit(np.ones((2, 16, 16, 3)), np.ones((2, 3)), verbose=0)
    run.save_epoch(net, 1, {"val_PxAP": 4.0, "loss": 1.5}, best=False)

    again = RunFolder(tmp_path, 2)
    assert again.state == run.state
    assert (again.state.epoch, again.state.best) == (1, 0)
    assert again.chosen == {"epoch": 0, "val_PxAP": 5.0}
    other = model()
    again.restore(other)
    for a, b in zip(net.variables, other.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(net.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    kept = keras.models.load_model(again.best)
    np.testing.assert_array_equal(kept.get_layer("logits").get_weights()[0], best)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"epoch": "0", "val_PxAP": "5.0", "loss": ""},
        {"epoch": "1", "val_PxAP": "4.0", "loss": "1.5"},
    ]
    assert sorted(p.name for p in tmp_path.glob("*")) == [
        "best.keras",
        "epoch1.weights.h5",
        "metrics.csv",
        "run.json",
        "state.json",
    ]


def test_what_a_kill_left_is_put_right(tmp_path):
    with open_run(tmp_path, {}, 2) as run:
        run.save_epoch(model(), 0, {"val_PxAP": 5.0}, best=True)
    (tmp_path / "metrics.csv").unlink()
    (tmp_path / "epoch1.weights.h5").write_bytes(b"of an epoch that did not count")
    with open_run(tmp_path, {}, 2):
        pass
    assert "5.0" in (tmp_path / "metrics.csv").read_text()
    assert [path.name for path in tmp_path.glob("epoch*")] == ["epoch0.weights.h5"]


def test_finished(tmp_path):
    net, run = model(), RunFolder(tmp_path, 1)
    run.save_epoch(net, 0, {}, best=True)
    assert not run.finished
    run.save_epoch(net, 1, {}, best=True)
    assert run.finished


@pytest.mark.parametrize("broken", ["save", "weights"])
def test_a_full_disk_leaves_the_last_epoch(broken, tmp_path, monkeypatch):
    net, run = model(), RunFolder(tmp_path, 2)
    run.save_epoch(net, 0, {"a": 1.0}, best=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(path, _=b""):
        path.open("wb").close()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((net, "save") if broken == "save" else (Path, "write_bytes")), fail)
    with pytest.raises(OSError, match="No space"):
        run.save_epoch(net, 1, {"a": 2.0}, best=broken == "save")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_hdf5_itself_opens_no_file(tmp_path, monkeypatch):
    # On a full disk it ends the process, and without locks it fails.
    class File(h5py.File):
        def __init__(self, file, *args, **options):
            assert not isinstance(file, str | Path), "HDF5 opens a file"
            super().__init__(file, *args, **options)

    monkeypatch.setattr("h5py.File", File)
    net = model()
    net.optimizer.build(net.trainable_variables)  # as `fit` does
    with open_run(tmp_path, {}, 1) as run:
        run.save_epoch(net, 0, {}, best=True)
    other = model()
    RunFolder(tmp_path, 1).restore(other)
    for a, b in zip(net.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_that_ended_before_its_first_epoch_is_no_loss(tmp_path):
    recipe = {"recipe": {"epochs": 2}}
    with open_run(tmp_path, {**recipe, "photos": 3}, 2) as run:
        run.save_epoch(model(), 0, {}, best=True)
    with open_run(tmp_path, {**recipe, "photos": 2}, 2) as run:  # without a broken one
        assert not run.state.history
        run.save_epoch(model(), 0, {}, best=True)
        run.save_epoch(model(), 1, {}, best=True)
    with (
        pytest.raises(SettingsChangedError, match="photos was 2 and is now 3"),
        open_run(tmp_path, {**recipe, "photos": 3}, 2),
    ):
        pass


def test_a_run_of_no_epochs_is_kept(tmp_path):
    recipe = {"recipe": {"epochs": 0}}
    with open_run(tmp_path, {**recipe, "photos": 3}, 0) as run:
        run.save_epoch(model(), 0, {}, best=True)
    with (
        pytest.raises(SettingsChangedError, match="photos was 3 and is now 2"),
        open_run(tmp_path, {**recipe, "photos": 2}, 0),
    ):
        pass


def test_a_chosen_model_that_is_gone_is_told(tmp_path):
    settings = {"recipe": {"epochs": 2}}
    with open_run(tmp_path, settings, 2) as run:
        for epoch in range(2):
            run.save_epoch(model(), epoch, {}, best=not epoch)
    assert changed_settings(tmp_path, settings) == []
    run.best.unlink()
    assert changed_settings(tmp_path, settings) == ["best.keras is gone"]


def test_a_finished_run_keeps_what_it_was_made_in(tmp_path, monkeypatch):
    def environment():
        return json.loads((tmp_path / "run.json").read_text())["environment"]["fcam_tf"]

    with open_run(tmp_path, {}, 1) as run:
        run.save_epoch(model(), 0, {}, best=True)
    made_in = environment()
    monkeypatch.setattr("fcam_tf.__version__", "99")
    with open_run(tmp_path, {}, 1) as run:  # its last epoch is of this version
        assert environment() == "99"
        run.save_epoch(model(), 1, {}, best=True)
    monkeypatch.setattr("fcam_tf.__version__", made_in)
    with open_run(tmp_path, {}, 1):
        pass
    assert environment() == "99"
