"""Keeping TensorFlow's remarks on its own start from the user's terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# Information (I0000), what announces it, the rest of its only two-line message, and the errors that
# every machine without a GPU driver and every conversion to LiteRT gets. Other errors and warnings
# pass.
_NOISE = re.compile(
    rb"I\d{4} |WARNING: All log messages before absl::InitializeLog|To enable the following instr"
    rb"|E\d{4} .*failed call to cuInit: .*\(303\)"
    rb"|E\d{4} .*NodeDef mentions attribute Truncate|W\d{4} .*tf_tfl_flatbuffer_helpers"
)

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Hold back what is written to stderr inside, and then let all but the noise through.

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
    with tempfile.TemporaryFile() as held:
        terminal = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            if level is None:
                del os.environ[_LEVEL]
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            held.seek(0)
            for line in held:
                if not _NOISE.match(line):
                    os.write(2, line)


@contextlib.contextmanager
def quiet_converters() -> Iterator[None]:
    """Hold back TensorFlow's noise and what its converters log of their progress; errors pass."""
    logging.disable(logging.WARNING)
    try:
        with quiet_tensorflow():
            yield
    finally:
        logging.disable(logging.NOTSET)
