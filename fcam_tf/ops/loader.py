"""Finding the compiled operations, or saying once that they are not there.

The library is written against TensorFlow's C API, so one file serves all versions. It is loaded
when it is first needed: importing the package cannot fail because of it.
"""

from __future__ import annotations

import functools
import os
import warnings
from importlib import resources
from typing import Any

SWITCH = "FCAM_OPS"
NATIVE, TENSORFLOW = "native", "tensorflow"


def backend() -> str:
    """Return what computes the lattice: "native" (compiled) or "tensorflow" (slower).

    The environment variable FCAM_OPS forces one of the two; it is read when an operation is first
    used.

    Raises:
        ImportError: FCAM_OPS=native, and the compiled operations cannot be loaded.
        ValueError: FCAM_OPS holds something else.
    """
    return TENSORFLOW if library() is None else NATIVE


@functools.cache
def library() -> Any:
    """Return the module of the compiled operations, or None where TensorFlow has to do.

    Raises:
        ImportError, ValueError: as of `backend`.
    """
    wanted = os.environ.get(SWITCH, "")
    if wanted not in ("", NATIVE, TENSORFLOW):
        raise ValueError(f"{SWITCH} must be 'native' or 'tensorflow'. Received: {wanted!r}.")
    if wanted == TENSORFLOW:
        return None
    import tensorflow as tf  # noqa: PLC0415 - slow, and not there under every backend

    path = resources.files("fcam_tf.ops") / "fcam_ops.so"
    try:
        if not path.is_file():
            raise OSError(f"{path} is missing")  # noqa: TRY301 - one place says what to do
        return tf.load_op_library(str(path))
    except (OSError, tf.errors.OpError) as error:
        reason = (
            f"the compiled CRF operations cannot be loaded with TensorFlow {tf.__version__}: "
            f"{error}. `pip install --force-reinstall --no-deps .` in the source folder builds "
            "them; it needs a C++ compiler."
        )
        if wanted == NATIVE:
            raise ImportError(reason) from error
        warnings.warn(f"{reason} The same numbers come from TensorFlow, slowly.", stacklevel=3)
        return None
