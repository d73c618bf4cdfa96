"""Processes for tests that kill some, or need several: copies of one that imported TensorFlow.

Importing it takes five seconds, more than most of these processes live for. A test about what is
imported, or about a command as it is typed, starts an interpreter of its own.
"""

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

# The environment of programs under JAX: compiling takes most of their time, and little is computed.
UNDER_JAX = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_backend_optimization_level=0"}

# Until something is computed, TensorFlow has no threads, and may be forked.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["keras_cv", "fcam_tf.commands.train", "fcam_tf.training.stages"])


class Child:
    """Runs a program as ``python -c CODE ARGUMENT...`` does, from its start on."""

    def __init__(
        self, code: str, arguments: Sequence[object] = (), env: Mapping[str, str] | None = None
    ) -> None:
        folder = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, folder)
        self._files = [Path(folder, name) for name in ("stdout", "stderr")]
        about = ([*map(str, arguments)], os.environ | (env or {}), self._files)
        self._process = _context.Process(target=_run, args=(code, *about), daemon=True)
        self._process.start()

    def poll(self) -> int | None:
        """Return what it ended with, minus the signal if one ended it; None while it runs."""
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def said(self) -> str:
        """Return what it has written to stderr so far."""
        return self._files[1].read_text() if self._files[1].exists() else ""

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end, and return what it wrote to stdout and to stderr."""
        self._process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired("child", timeout)
        out, err = (path.read_text() for path in self._files)
        return out, err


def _run(
    code: str, arguments: Sequence[str], env: Mapping[str, str], files: Sequence[Path]
) -> None:
    for number, path in enumerate(files, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.environ.update(env)
    sys.argv = ["-c", *arguments]
    exec(code, {"__name__": "__main__"})  # noqa: S102 - a test's own
