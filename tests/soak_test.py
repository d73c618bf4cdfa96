"""That growth is seen; `make soak` repeats for hours."""

import mmap
import threading

import numpy as np
import pytest

from fcam_tf.models import BACKBONES
from tests import soak


def _flat(_, count):
    while True:
        np.ones(count)
        yield


def _memory(_, count):
    kept = []
    while True:  # 36 MB from the second fifth to the last; a large process has room in its heap
        kept.append(mmap.mmap(-1, count * 30_000 * 8))
        kept[-1].write(bytes(len(kept[-1])))
        yield


def _files(folder, _):
    kept = []
    while True:
        kept.append((folder / f"{len(kept)}").open("w"))
        yield


def _threads(_, __):
    ended = threading.Event()
    try:
        while True:
            threading.Thread(target=ended.wait).start()
            yield
    finally:
        ended.set()


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize(
    ("loop", "flat"), [(_flat, True), (_memory, False), (_files, False), (_threads, False)]
)
def test_growth_is_seen(loop, flat, monkeypatch, capsys):
    monkeypatch.setitem(soak.LOOPS, "calls of each op", soak.Loop(loop, 50, 5))
    assert soak.measure("calls of each op", 1) == flat
    row = capsys.readouterr().out
    assert row.startswith("| calls of each op | 50 | ")
    assert row.endswith("it grows\n") != flat


@pytest.mark.slow
@pytest.mark.parametrize("name", soak.LOOPS)
def test_loops_run(name, monkeypatch, capsys):
    monkeypatch.setenv("FCAM_ZOO", "")  # both are set anew, in a process of their own
    monkeypatch.setitem(BACKBONES, soak.BACKBONE, BACKBONES[soak.BACKBONE])
    assert soak.measure(name, 1e-4)
    assert capsys.readouterr().out.startswith(f"| {name} | ")
