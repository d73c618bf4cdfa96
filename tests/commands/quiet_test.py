import contextlib
import os
import signal
import subprocess
import sys

import pytest

from fcam_tf.commands.quiet import quiet_tensorflow

NOISE = b"""WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795421744.845171    4641 port.cc:153] oneDNN custom operations are on.
To enable the following instructions: AVX2 AVX512F FMA, in other operations, rebuild TensorFlow.
E0000 00:00:1795421747.55    4641 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: Failed call to cuInit: UNKNOWN ERROR (303)
"""  # noqa: E501
NEWS = b"""W0000 00:00:1795421747.55    4641 a.cc:1] a real warning
E0000 00:00:1795421747.55    4641 cuda_platform.cc:52] failed call to cuInit: CUDA_ERROR_NO_DEVICE (100)
Traceback (most recent call last):
"""  # noqa: E501


@pytest.mark.parametrize("level", [None, "2"])
def test_noise_is_held_back_and_news_is_not(capfd, monkeypatch, level):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    if level:
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
    with quiet_tensorflow():
        os.write(2, NOISE + NEWS)
    os.write(2, b"after\n")
    assert capfd.readouterr().err.encode() == NEWS + b"after\n"
    assert os.environ.get("TF_CPP_MIN_LOG_LEVEL") == level


def test_after_an_error_stderr_is_back(capfd, monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)

    def fail():
        with quiet_tensorflow():
            os.write(2, NEWS)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    os.write(2, b"after\n")
    assert capfd.readouterr().err.encode() == NEWS + b"after\n"


def test_who_sets_the_level_to_0_sees_it_all(capfd, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    with quiet_tensorflow():
        os.write(2, NOISE)
    assert capfd.readouterr().err.encode() == NOISE


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("os.abort()", -signal.SIGABRT),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("raise RuntimeError('no luck')", 1),
    ],
)
def test_last_words_are_heard(end, status):
    code = (
        "import os, signal\nfrom fcam_tf.commands.quiet import quiet_tensorflow\n"
        f"with quiet_tensorflow():\n    os.write(2, {NOISE + b'F0000 check failed'!r})\n    {end}"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert found.returncode == status
    text = found.stderr.decode()
    assert text.startswith("F0000 check failed")
    assert ("no luck" in text) == (status == 1)


@contextlib.contextmanager
def stderr_to_a_pipe():
    """Let file descriptor 2 be a pipe, and give the end to read from.

    The file of ``capfd`` has one place for readers and writers, and here a thread writes late.
    """
    reader, writer = os.pipe()
    before = os.dup(2)
    os.dup2(writer, 2)
    os.close(writer)
    try:
        yield reader
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(reader)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_who_goes_on_inside_does_not_hold_the_end_up(monkeypatch):
    monkeypatch.setattr("fcam_tf.commands.quiet._PATIENCE", 0.1)
    with stderr_to_a_pipe() as stderr:
        with quiet_tensorflow():
            child = subprocess.Popen(
                [sys.executable, "-c", "import os, sys; sys.stdin.read(); os.write(2, b'late')"],
                stdin=subprocess.PIPE,
            )
        os.write(2, b"after ")
        assert os.read(stderr, 100) == b"after "
        child.communicate()
        assert os.read(stderr, 100) == b"late"
