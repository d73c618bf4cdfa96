"""Keeping TensorFlow's remarks on its own start from the user's terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator

# Information (I0000), what announces it, the rest of its only two-line message, and the errors that
# every machine without a GPU driver and every conversion to LiteRT gets. Other errors and warnings
# pass.
_NOISE = (
    r"I\d{4} |WARNING: All log messages before absl::InitializeLog|To enable the following instr"
    r"|E\d{4} .*failed call to cuInit: .*\(303\)"
    r"|E\d{4} .*NodeDef mentions attribute Truncate|W\d{4} .*tf_tfl_flatbuffer_helpers"
)
# A process of its own, which still passes on what ours says when it aborts or is killed.
_FILTER = """
import re, sys
noise = re.compile(sys.argv[1].encode())
for line in sys.stdin.buffer:
    if not noise.match(line):
        sys.stderr.buffer.write(line)
        sys.stderr.flush()
"""
_PATIENCE = 5  # seconds; who was started inside and still runs keeps the filter waiting

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Let what is written to stderr inside through, but for the noise.

    TensorFlow's C++ side writes past `sys.stderr`, and its first messages disregard
    ``TF_CPP_MIN_LOG_LEVEL``, so the file descriptor itself is turned aside. Who sets that variable
    to 0 sees it all.
    """
    level = os.environ.get(_LEVEL)
    if level == "0":
        yield
        return
    os.environ[_LEVEL] = level or "1"  # read once, and good for later information too
    sys.stderr.flush()
    # In a session of its own: an interrupt from the keyboard must not end it first.
    command = [sys.executable, "-I", "-S", "-c", _FILTER, _NOISE]
    terminal = os.dup(2)
    filtered, noisy = os.pipe()
    process = subprocess.Popen(  # noqa: S603 - our own text
        command, stdin=filtered, start_new_session=True
    )
    os.dup2(noisy, 2)
    os.close(noisy)
    os.close(filtered)
    try:
        yield
    finally:
        if level is None:
            del os.environ[_LEVEL]
        sys.stderr.flush()
        os.dup2(terminal, 2)
        os.close(terminal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)


def load_tensorflow() -> None:
    """Import TensorFlow now, quietly."""
    with quiet_tensorflow():
        import keras  # noqa: F401, PLC0415


@contextlib.contextmanager
def quiet_converters(doing: str) -> Iterator[None]:
    """Hold back TensorFlow's noise and what its converters log of their progress; errors pass.

    Where a user watches, a line says meanwhile what is done.
    """
    logging.disable(logging.WARNING)
    try:
        with _status(doing), quiet_tensorflow():
            yield
    finally:
        logging.disable(logging.NOTSET)


@contextlib.contextmanager
def _status(doing: str) -> Iterator[None]:
    """Show a moving line on the terminal itself, past what is put before stderr; else nothing."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - help does without

    with os.fdopen(os.dup(2), "w") as terminal:
        console = Console(file=terminal, markup=False, highlight=False, emoji=False)
        with console.status(f"{doing} ..."):
            yield
