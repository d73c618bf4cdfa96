import os

import pytest
import tensorflow as tf

from fcam_tf.commands.cores import share_cores


@pytest.fixture
def threads(monkeypatch):
    """The numbers of threads that TensorFlow was told, on a machine of two cores without a GPU."""
    told = []
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: [])
    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", told.append)
    return told


@pytest.mark.parametrize(("cores", "calls", "each"), [(2, 2, 1), (3, 3, 1), (4, 4, 1), (18, 4, 4)])
def test_cores_are_divided(monkeypatch, threads, cores, calls, each):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert share_cores(16) == calls
    assert threads == [each]


def test_few_batches(threads):
    assert share_cores(7) == 1
    assert threads == []
    assert share_cores(8) == 2


def test_one_core(monkeypatch, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})
    assert share_cores(100) == 1
    assert threads == []


def test_a_gpu(monkeypatch, threads):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert share_cores(100) == 1
    assert threads == []


def test_what_the_user_has_set_stays(monkeypatch, threads):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "2")
    assert share_cores(100) == 1
    assert threads == []


def test_tensorflow_has_started(monkeypatch, threads):
    def refuse(_):
        raise RuntimeError("cannot be modified after initialization")

    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", refuse)
    assert share_cores(100) == 1
    assert threads == []
