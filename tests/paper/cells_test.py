import pytest

from fcam_tf.claim import FolderBusyError
from fcam_tf.paper.cells import Cell, work_off

A, B, C = (Cell("tiny", "cam", seed) for seed in range(3))


def test_says_what_it_is():
    assert Cell("vgg16", "adl", 1, "SR").told == "vgg16, adl + SR, seed 1"
    assert Cell("", "center").told == "center"


def test_what_another_process_holds_is_left_for_later():
    order, told, busy = [], [], {A: 1}

    def score(cell):
        order.append(cell)
        if busy.get(cell):
            busy[cell] -= 1
            raise FolderBusyError
        return cell.seed

    found = work_off([A, B, A, C], score, told.append, wait=pytest.fail)
    assert order == [A, B, C, A]
    assert [*found.items()] == [(A, 0), (B, 1), (C, 2)]
    assert told[0] == "1 of 3: tiny, cam, seed 1: done"
    assert told[2] == "3 of 3: tiny, cam, seed 0: done"


def test_waits_for_another_process_and_says_so_once():
    told, waited, busy = [], [], 3

    def score(cell):
        if cell == B and len(waited) < busy:
            raise FolderBusyError
        return cell.seed

    assert work_off([A, B], score, told.append, waited.append) == {A: 0, B: 1}
    assert len(waited) == busy
    assert told[1:-1] == ["waiting for another process: tiny, cam, seed 1"]


def test_a_training_that_diverges_leaves_a_gap():
    told = []

    def score(cell):
        if cell == A:
            raise ArithmeticError("NaN")
        return cell.seed

    assert work_off([A, B], score, told.append) == {B: 1}
    assert told[0] == "1 of 2: tiny, cam, seed 0: NaN"
    with pytest.raises(RuntimeError, match="nothing was measured, as every training diverged"):
        work_off([A], score, told.append)
