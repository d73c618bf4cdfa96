import threading

import numpy as np
import pytest

from fcam_tf.serving.batching import Batcher


class Recorder:
    """Doubles rows, remembers batches, and waits until it is let go."""

    def __init__(self):
        self.batches, self.go, self.begun = [], threading.Event(), threading.Event()
        self.go.set()

    def __call__(self, kind, rows):
        self.begun.set()
        assert self.go.wait(30)
        self.batches.append((kind, rows.tolist()))
        if -1 in rows:
            raise ValueError("a bad row")
        return {"double": rows * 2}


@pytest.fixture
def start():
    """Start batchers, and close them at the end."""
    made = []

    def start(run, most=4, delay=0.0):
        sizes = []
        made.append(Batcher(run, most, delay, sizes.append))
        return made[-1], sizes

    yield start
    for batcher in made:
        batcher.close()


def held(run, batcher):
    """Submit a row that is being answered until `run.go` is set."""
    run.go.clear()
    first = batcher.submit("a", np.array([0]))
    assert run.begun.wait(30)
    return first


def test_rows_that_wait_are_answered_in_one_batch(start):
    run = Recorder()
    batcher, sizes = start(run)
    first = held(run, batcher)
    others = [batcher.submit("a", np.array(rows)) for rows in ([1], [2, 3], [4])]
    run.go.set()
    assert [f.result(30)["double"].tolist() for f in (first, *others)] == [[0], [2], [4, 6], [8]]
    assert run.batches == [("a", [0]), ("a", [1, 2, 3, 4])]
    assert sizes == [1, 4]


def test_what_does_not_fit_begins_a_batch(start):
    run = Recorder()
    batcher, _ = start(run, most=3)
    held(run, batcher)
    kinds = [("a", [1, 2]), ("a", [3, 4]), ("b", [5]), ("b", [6, 7, 8, 9])]
    found = [batcher.submit(kind, np.array(rows)) for kind, rows in kinds]
    run.go.set()
    for future, (_, rows) in zip(found, kinds, strict=True):
        assert future.result(30)["double"].tolist() == [2 * row for row in rows]
    assert run.batches[1:] == kinds


def test_a_bad_row_costs_the_others_nothing(start):
    run = Recorder()
    batcher, _ = start(run)
    held(run, batcher)
    good, bad, last = (batcher.submit("a", np.array([row])) for row in (1, -1, 2))
    run.go.set()
    with pytest.raises(ValueError, match="a bad row"):
        bad.result(30)
    assert (good.result(30)["double"], last.result(30)["double"]) == ([2], [4])
    assert run.batches[1:] == [("a", [1, -1, 2]), ("a", [1]), ("a", [-1]), ("a", [2])]


def test_what_was_cancelled_is_not_run(start):
    run = Recorder()
    batcher, _ = start(run)
    held(run, batcher)
    gone, stays = batcher.submit("a", np.array([1])), batcher.submit("a", np.array([2]))
    assert gone.cancel()
    run.go.set()
    stays.result(30)
    assert run.batches[1:] == [("a", [2])]


def test_closing_answers_what_waits():
    run = Recorder()
    batcher = Batcher(run, 1, 0.0, lambda _: None)
    held(run, batcher)
    waiting = [batcher.submit("a", np.array([n])) for n in (1, 2)]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    run.go.set()
    closing.join(30)
    assert [future.result(0)["double"].tolist() for future in waiting] == [[2], [4]]
