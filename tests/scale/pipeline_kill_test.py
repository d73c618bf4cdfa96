"""Workers, and the process that has them, are killed at random moments: FCAM_KILLS=20 for more."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("apache_beam")
ROOT = Path(__file__).parents[2]
TWO = ("direct_num_workers=2", "direct_running_mode=multi_processing")
KILLS = int(os.environ.get("FCAM_KILLS", "2"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(36):
        pixels = rng.integers(0, 256, (20, 24, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    (folder / "broken.png").write_bytes((folder / "00.png").read_bytes()[:100])
    return folder


@pytest.fixture(scope="module")
def undisturbed(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    assert start(out, photos).wait() == 0
    return contents(out)


def start(out, photos, *options, **environment):
    command = [sys.executable, "-m", "tests.scale.fake", str(out), *options, "--", str(photos)]
    with out.with_suffix(".log").open("a") as log:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)


def contents(out):
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


def times(out):
    return {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(KILLS))
def test_a_rerun_after_a_kill(photos, undisturbed, tmp_path, seed):
    rng = random.Random(seed)  # noqa: S311 - moments of kills
    out, noted = tmp_path / "out", tmp_path / "workers"
    job = start(out, photos, *TWO, WORKERS=str(noted), SECONDS_A_BATCH="0.3")
    while job.poll() is None and not (noted.exists() and len(noted.read_text().split()) == 2):
        time.sleep(0.1)
    time.sleep(rng.uniform(0, 5))
    victim = rng.choice([*map(int, noted.read_text().split()), job.pid])
    if job.poll() is None:
        os.kill(victim, signal.SIGKILL)
    job.wait(120)
    finished = times(out)
    # A worker whose job is gone ends a shard first, and then itself.
    for worker in map(int, noted.read_text().split()):
        while Path(f"/proc/{worker}").exists():
            time.sleep(0.1)
    assert start(out, photos).wait(120) == 0
    assert contents(out) == undisturbed
    assert finished.items() <= times(out).items()  # is not done again
