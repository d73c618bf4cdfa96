"""Finding the compiled operations, or warning once that they are missing.

The library is written against TensorFlow's C API, so one file serves all versions. It is loaded
when it is first needed: importing the package cannot fail because of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import warnings
from importlib import resources
from pathlib import Path
from typing import Any

from fcam_tf import checks
from fcam_tf import lazy_tensorflow as tf
from fcam_tf.cache import cache_folder

SWITCH = "FCAM_OPS"
CUDA, NATIVE, TENSORFLOW = "cuda", "native", "tensorflow"


def backend() -> str:
    """Tell what computes the lattice: "cuda", "native" (the CPU) or "tensorflow" (slower).

    It is "cuda" if TensorFlow sees a GPU that the kernels run on. The environment variable FCAM_OPS
    forces one of the three; it is read when an operation is first used.

    Raises:
        ImportError: FCAM_OPS is native or cuda, and that cannot run.
        ValueError: FCAM_OPS has another value.
    """
    if library() is None:
        return TENSORFLOW
    return CUDA if on_gpu() else NATIVE


def device() -> contextlib.AbstractContextManager:
    """Return the device scope for compiled operations: the CPU, unless they run on GPUs, too."""
    return contextlib.nullcontext() if on_gpu() else tf.device("CPU")


@functools.cache
def library() -> Any:
    """Return the module of the compiled operations, or None if TensorFlow computes the lattice.

    Raises:
        ImportError, ValueError: see `backend`.
    """
    wanted = _wanted()
    if wanted == TENSORFLOW:
        return None
    file = path()
    try:
        if not file.is_file():
            raise OSError(f"{file} is missing")  # noqa: TRY301 - one place says what to do
        return tf.load_op_library(str(file))
    except (OSError, tf.errors.OpError) as error:
        reason = (
            f"the compiled CRF operations cannot be loaded with TensorFlow {tf.__version__}: "
            f"{error}. `pip install --force-reinstall --no-deps .` in the source folder builds "
            "them; it needs a C++ compiler."
        )
        if wanted:
            raise ImportError(reason) from error
        warnings.warn(f"{reason} TensorFlow computes the same numbers, slowly.", stacklevel=3)
        return None


@functools.cache
def on_gpu() -> bool:
    """Return whether the compiled operations run on this machine's GPUs.

    If there are GPUs but something is missing, the CPU does the work after one warning. Training
    then continues, but is slower, because each map is copied to the CPU and back.

    Raises:
        ImportError: FCAM_OPS is cuda, and it cannot run.
    """
    wanted = _wanted()
    if wanted == NATIVE or library() is None:
        return False
    if not tf.config.list_physical_devices("GPU"):
        if wanted == CUDA:
            raise ImportError(f"{SWITCH}=cuda, but TensorFlow {tf.__version__} sees no GPU.")
        return False
    problem = set_up(ctypes.CDLL(str(path())))
    if problem and wanted == CUDA:
        raise ImportError(f"{SWITCH}=cuda, but {problem}.")
    if problem:
        warnings.warn(
            f"the CRF kernels cannot run on the GPU: {problem}. The CPU computes the CRF instead "
            f"({SWITCH}=native asks for that and silences this).",
            stacklevel=4,
        )
    return not problem


def set_up(native: ctypes.CDLL) -> str:
    """Compile the kernels of a library for the GPUs of this machine; return what is missing."""
    native.fcam_cuda_set_up.restype = ctypes.c_char_p
    places = [os.fsencode(place) for place in compilers()]
    cache = b""
    with contextlib.suppress(RuntimeError):  # there may be no home: nothing is kept
        cache = os.fsencode(cache_folder())
    array = (ctypes.c_char_p * len(places))(*places)
    return native.fcam_cuda_set_up(array, len(places), cache).decode()


def compilers() -> list[Path]:
    """Return files that may be NVIDIA's run-time compiler: pip packages first, then a toolkit."""
    spec = importlib.util.find_spec("nvidia")
    folders = [Path(root) for root in (spec.submodule_search_locations or ())] if spec else []
    found = [file for folder in folders for file in folder.glob("*/lib/libnvrtc.so.*")]
    toolkit = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
    return sorted(found) + sorted(toolkit.glob("lib64/libnvrtc.so*"))


def path() -> Path:
    """Return where the compiled operations are, or would be."""
    return Path(str(resources.files("fcam_tf.ops") / "fcam_ops.so"))


def _wanted() -> str:
    wanted = os.environ.get(SWITCH, "")
    if wanted:
        checks.choice(SWITCH, wanted, (CUDA, NATIVE, TENSORFLOW))
    return wanted
