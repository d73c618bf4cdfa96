"""`fcam train --strategy multiworker`, by two processes of this machine."""

import contextlib
import json
import signal
import socket

import keras
import numpy as np
import pytest

from fcam_tf import cli, models
from fcam_tf.data import write_shapes
from tests.children import Child
from tests.models.tiny import tiny_classifier

pytestmark = [
    pytest.mark.slow,
    pytest.mark.longest,
    pytest.mark.traced,
    pytest.mark.usefixtures("undrawn", "no_report"),
]

# As the fixtures; a worker that is to die does so once an epoch is finished.
WORKER = """
import os, signal, sys
import fcam_tf
from fcam_tf import cli
from fcam_tf.training import loop
from fcam_tf.training.run_folder import RunFolder

loop.tensorboard, loop.draw_convergence = lambda *_: [], lambda *args: args[2].touch()
fcam_tf.training.report = lambda *_, **__: None
save = RunFolder.save_epoch

def save_epoch(run, model, epoch, *others):
    save(run, model, epoch, *others)
    if epoch == int(os.environ["DIES_AFTER"]):
        os.kill(os.getpid(), signal.SIGKILL)

RunFolder.save_epoch = save_epoch
sys.exit(cli.run(["fcam", "train", *sys.argv[1:]]))
"""
SIZES = ("--set=resize=36", "--set=crop=32", "--set=epochs=2", "--recipe=small", "--set=ema=0.9")
# Chance has no say: all pixels are drawn as background, those that are objects', too, are left out.
SEEDS = {"positives": 1024, "negatives": 1024, "negative_fraction": 1, "kernel": 1, "erosion": 1}
# Adam would make a full step of what is but rounding.
CERTAIN = ["--set=optimizer=sgd", *(f"--set=loss.{name}={value}" for name, value in SEEDS.items())]


@pytest.fixture
def no_report(monkeypatch):
    monkeypatch.setattr("fcam_tf.training.report", lambda *_, **__: None)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.keras"
    keras.utils.set_random_seed(0)
    model = tiny_classifier(classes=5)
    for layer in model.layers:  # which each worker would normalise its part of a batch by
        layer.trainable = not layer.name.startswith("bn")
    model.save(path)
    return path


def both(command, dies_after=-1):
    """Run a command as two workers, the second of which may die; return how each ended."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(2)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    workers = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        about = {"cluster": {"worker": addresses}, "task": task}
        own = {"TF_CONFIG": json.dumps(about), "DIES_AFTER": str(dies_after if index else -1)}
        workers.append(Child(WORKER, command, {"CUDA_VISIBLE_DEVICES": "-1", **own}))
    return [(*worker.communicate(), worker.poll()) for worker in workers]


def history(out):
    return json.loads((out / "state.json").read_text())["history"]


def alike(one, two):
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=1e-3)


def test_two_workers_train_a_classifier_as_one(tiny, tmp_path):
    data = write_shapes(tmp_path / "data", {"train": 10, "val": 5}, 48)
    flags = ("--data", data, "--model", tiny, *SIZES, "--set=batch_size=4")
    one, two = tmp_path / "one", tmp_path / "two"
    assert cli.run(["fcam", "train", "classifier", *map(str, flags), f"--out={one}"]) == 0
    found = both(("classifier", *flags, f"--out={two}", "--strategy=multiworker"))
    assert [end[2] for end in found] == [0, 0], found
    alike(history(one), history(two))
    assert "worker 1 is done" in found[1][1]
    assert not found[1][0]  # the first tells of all
    assert not list(tmp_path.glob("fcam-worker-*"))


def test_two_workers_train_a_decoder_as_one_though_one_dies_and_returns(tiny, tmp_path):
    # The last batch is of three: one worker has two of them.
    data = write_shapes(tmp_path / "data", {"train": 11, "val": 5}, 48)
    flags = ("--data", data, "--model", tiny, *SIZES, "--set=batch_size=4", *CERTAIN)
    one, two = tmp_path / "one", tmp_path / "two"
    assert cli.run(["fcam", "train", "fcam", *map(str, flags), f"--out={one}"]) == 0
    command = ("fcam", *flags, f"--out={two}", "--strategy=multiworker")
    (_, told, status), (_, _, killed) = both(command, dies_after=1)
    assert (status, killed) == (1, -signal.SIGKILL), told
    assert "another worker ended or cannot be reached" in told
    assert "Traceback" not in told
    assert [row["epoch"] for row in history(two)] in ([0], [0, 1])
    found = both(command)
    assert [end[2] for end in found] == [0, 0], found
    alike(history(one), history(two))
    a, b = (models.load(out / "best.keras").get_weights() for out in (one, two))
    for mine, theirs in zip(a, b, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-5)
