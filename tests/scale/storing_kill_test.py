"""Workers that store maps, and the process that has them, are killed: FCAM_KILLS=20 for more."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("apache_beam")

from tests.scale.pipeline_kill_test import KILLS, ROOT, TWO, contents

START = (sys.executable, "-m", "tests.scale.fake_cams")


def start(out, photos, *options, **environment):
    with out.with_suffix(".log").open("a") as log:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        command = [*START, str(out), str(photos), *options]
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(KILLS))
def test_a_rerun_after_a_kill(forty, tmp_path, seed):
    assert start(tmp_path / "undisturbed", forty).wait() == 0
    rng = random.Random(seed)  # noqa: S311 - moments of kills
    out, noted = tmp_path / "out", tmp_path / "workers"
    job = start(out, forty, *TWO, WORKERS=str(noted), SECONDS_A_BATCH="2")
    while job.poll() is None and not (noted.exists() and len(noted.read_text().split()) == 2):
        time.sleep(0.1)
    time.sleep(rng.uniform(0, 4))  # three batches take four seconds
    victim = rng.choice([*map(int, noted.read_text().split()), job.pid])
    if job.poll() is None:
        os.kill(victim, signal.SIGKILL)
    job.wait()
    # A worker whose job is gone ends a block first, and then itself.
    assert start(out, forty).wait() == 0
    assert contents(out) == contents(tmp_path / "undisturbed")
