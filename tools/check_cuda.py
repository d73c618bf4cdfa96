"""Checks the CUDA kernels of the CRF on a machine with a GPU; TensorFlow is not needed.

    PYTHONPATH=. python tools/check_cuda.py
    PYTHONPATH=. python tools/check_cuda.py --on_cpu   # the same without a GPU: tries the tool

Needs CuPy, CMake, a C++ compiler, absl-py, rich, SciPy and scikit-image.

Filter, transposed filter, loss, gradient and mean field (with Potts and with a matrix) are compared
with the CPU's lattice and the float64 oracles of the tests on fresh random inputs, twice, bit for
bit; then the same on small images under compute-sanitizer, where it is installed. The exit status
tells whether all held.
"""

from __future__ import annotations

import contextlib
import ctypes
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags
from common import print_table, start

from fcam_tf.ops import loader
from tests.ops.examples import photos, soft_maps
from tests.ops.lattice_oracle import Lattice, crf_loss
from tests.ops.mean_field_oracle import exact, mean_field

ON_CPU = flags.DEFINE_bool("on_cpu", False, "run the kernels on the CPU, without a GPU")
_SEED = flags.DEFINE_integer("seed", None, "of the random inputs; default: the time")
_LIBRARY = flags.DEFINE_string("library", None, "a library built before; default: build it")
_SMALL = flags.DEFINE_bool("small", False, "small images only, and no sanitizers")

_TOLERANCE = 1e-5  # relative L2
_TIES = 0.05  # the same, where rounding decides
_SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")


class _Images(ctypes.Structure):
    """fcam::Images of batch.h."""

    _fields_ = (
        ("pixels", ctypes.c_void_p),
        ("is_uint8", ctypes.c_bool),
        ("batch", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("channels", ctypes.c_int),
        ("sigma_rgb", ctypes.c_float),
        ("sigma_xy", ctypes.c_float),
    )


class Case(NamedTuple):
    """Images (B, H, W, C) and maps (B, H, W, K) float32 to filter."""

    name: str
    images: np.ndarray
    maps: np.ndarray
    sigmas: tuple[float, float]


class Engine:
    """The lattice of the library on one kind of memory: NumPy's (the CPU) or CuPy's (the GPU)."""

    def __init__(self, library: ctypes.CDLL, arrays: ModuleType, on_gpu: bool) -> None:
        self._library, self._arrays, self._on_gpu = library, arrays, on_gpu
        scratch = (2**28 if ON_CPU.value else 2**32) if on_gpu else 1
        self._scratch = arrays.empty(scratch, np.uint8)

    def put(self, case: Case) -> Case:
        """Return a case whose arrays are where this engine computes."""
        there = (self._arrays.asarray(array) for array in (case.images, case.maps))
        return Case(case.name, *there, case.sigmas)

    def filter(self, case: Case, transpose: bool) -> list[Any]:
        return self._call("filter", case, ctypes.c_int(transpose), case.maps.shape)

    def loss(self, case: Case, symmetric: bool) -> list[Any]:
        """Return the losses and their gradients."""
        flag = ctypes.c_int(symmetric)
        return self._call("loss", case, flag, case.maps.shape[:1], case.maps.shape)

    def mean_field(self, case: Case, with_matrix: bool) -> list[Any]:
        """Return the marginals; the maps are the energies."""
        costs = self._arrays.asarray(_costs(case.maps.shape[-1]))
        matrix = _address(costs) if with_matrix else ctypes.c_void_p()
        return self._call("crf", case, matrix, case.maps.shape)

    def _call(self, name: str, case: Case, option: Any, *shapes: tuple[int, ...]) -> list[Any]:
        out = [self._arrays.full(shape, np.nan, np.float32) for shape in shapes]
        images = case.images
        described = _Images(_address(images), images.dtype == np.uint8, *images.shape, *case.sigmas)
        function = getattr(self._library, f"fcam_check_{name}")
        function.restype = ctypes.c_char_p
        options = ctypes.c_int(case.maps.shape[-1]), option
        scratch = _address(self._scratch), ctypes.c_size_t(self._scratch.size)
        given = ctypes.byref(described), _address(case.maps), *options
        problem = function(ctypes.c_int(self._on_gpu), *given, *map(_address, out), *scratch)
        if problem:
            raise RuntimeError(f"{case.name}: {problem.decode()}")
        return out


def _address(array: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(getattr(array.data, "ptr", None) or array.ctypes.data)


def _costs(classes: int) -> np.ndarray:
    """Return a compatibility (K, K) that is not symmetric."""
    return (np.arange(classes**2).reshape(classes, classes) % 5 / 4).astype(np.float32)


def _build(folder: str) -> Path:
    target = "cuda_check_on_cpu" if ON_CPU.value else "cuda_check"
    configure = ["-S", str(Path(__file__).parents[1]), "-B", folder, "-DFCAM_TESTS=ON"]
    for arguments in (configure, ["--build", folder, "--target", target, "--parallel"]):
        command = [shutil.which("cmake") or "cmake", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return Path(folder, f"{target}.so")


def _cases(rng: np.random.Generator) -> list[Case]:
    def piece(*crop: int) -> np.ndarray:
        top, left = (rng.integers(0, 65 - side) for side in crop)
        grain = rng.integers(0, 3, (3, *crop, 3))
        there = photos(64)[:, top : top + crop[0], left : left + crop[1]]
        return np.minimum(there + grain, 255).astype(np.uint8)

    def noise(*shape: int) -> np.ndarray:
        return rng.integers(0, 256, (*shape, 3), np.uint8)

    usual = (15.0, 50.0)
    rows: list[tuple[str, np.ndarray, int, tuple[float, float]]] = [
        *(
            ("photos", piece(height, width), classes, usual)
            for height, width, classes in (
                (1, 1, 2),
                (1, 37, 3),
                (53, 1, 1),
                (31, 45, 21),
                (48, 48, 2),
            )
        ),
        ("photos, many vertices", piece(40, 40), 2, (5.0, 20.0)),
        ("float photos", piece(40, 33).astype(np.float32) * 1.5 - 40, 32, (30.0, 30.0)),
        ("grey photos", piece(40, 41)[..., :1], 5, usual),
        ("constant", np.full((2, 40, 40, 3), 77, np.uint8), 2, (15.0, 100.0)),
        ("noise", noise(2, 48, 48), 2, (15.0, 100.0)),
    ]
    if not _SMALL.value and not ON_CPU.value:
        rows += [
            ("photos", photos(224), 2, (15.0, 100.0)),
            ("photos", photos(224), 21, (5.0, 20.0)),
            ("noise", noise(8, 224, 224), 2, (15.0, 100.0)),
            ("noise", noise(1, 1000, 700), 3, (15.0, 100.0)),
            ("noise", noise(1, 700, 1000), 2, (2.0, 3.0)),
        ]
    return [
        Case(name, np.ascontiguousarray(images), soft_maps(rng, *images.shape[:3], classes), sigmas)
        for name, images, classes, sigmas in rows
    ]


def _oracle(case: Case, flag: bool) -> list[np.ndarray]:
    costs = _costs(case.maps.shape[-1]) if flag else None
    found = []
    for image, maps in zip(case.images, case.maps.astype(float), strict=True):
        lattice = Lattice(image, *case.sigmas)
        kernels = [(1, lattice.filter), (1, exact(image, 1.5))]
        marginals = mean_field(maps, kernels, costs, 5)
        loss, gradient = crf_loss(image, maps, *case.sigmas, flag)
        found.append((lattice.filter(maps, reverse=flag), loss, gradient, marginals))
    return [np.stack(part) for part in zip(*found, strict=True)]


def _distance(found: Any, expected: Any, scales: Any) -> float:
    """Return the largest relative L2 distance; NaN where something is not a number."""
    pairs = zip(found, expected, scales, strict=True)
    return np.max([np.linalg.norm(a - b) / max(np.linalg.norm(c), 1e-30) for a, b, c in pairs])


def compare(gpu: Engine, cpu: Engine, seed: int) -> bool:
    """Print how far results on random cases are apart; return whether all of them hold."""
    rows = []
    for case in _cases(np.random.default_rng(seed)):
        worst, again = np.zeros(3), True
        small = case.images[0, ..., 0].size <= 2500 and case.name != "noise"
        for flag in (True, False):
            one, two, other = (
                [x.get() if hasattr(x, "get") else x for x in found]
                for engine in (gpu, gpu, cpu)
                for there in [engine.put(case)]
                for found in [
                    engine.filter(there, flag)
                    + engine.loss(there, flag)
                    + engine.mean_field(there, flag)
                ]
            )
            again &= all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
            pairs = [(one, other)]
            if small:
                pairs += [(found, _oracle(case, flag)) for found in (one, other)]
            # Loss and gradient may be small differences of filtered values: these are the measure.
            scales = other[0], np.sum(other[0] * case.maps, axis=(1, 2, 3)), other[0], other[3]
            for n, (found, expected) in enumerate(pairs):
                worst[n] = np.maximum(worst[n], _distance(found, expected, scales))  # NaN stays
        # Near ties, rounding decides between two simplices: the CPU is then as far from the oracle.
        near = worst[1] <= max(_TOLERANCE, 1.5 * worst[2]) and worst[2] <= _TIES
        held = bool(worst[0] <= _TOLERANCE and near)
        verdict = ("" if held else "FAILED") + ("" if again else " two runs differ")
        known = worst if small else worst[:1]
        figures = [f"{x:.1e}" for x in known] + ["-"] * (3 - len(known))
        rows.append([f"{case.name} {case.maps.shape} {case.sigmas}", *figures, verdict])
    title = f"Relative L2 distances, the worst of both directions or modes (seed {seed})"
    print_table(title, ["case", "GPU - CPU", "GPU - oracle", "CPU - oracle", "failed"], rows)
    return not any(row[-1] for row in rows)


def _sanitize(library: Path, seed: int) -> bool:
    program = shutil.which("compute-sanitizer")
    if program is None:
        print("\ncompute-sanitizer: not run (there is none)")
        return True
    good = True
    for tool in _SANITIZERS:
        command = [program, "--tool", tool, "--error-exitcode", "9", sys.executable, __file__]
        command += ["--small", f"--library={library}", f"--seed={seed}"]
        done = subprocess.run(command, capture_output=True, check=False, text=True)  # noqa: S603
        summary = [line for line in done.stdout.splitlines() if "SUMMARY" in line]
        print(f"\ncompute-sanitizer {tool}: {' '.join(summary) or 'no summary'}")
        if done.returncode:
            good = False
            print("\n".join((done.stdout + done.stderr).splitlines()[-30:]))
    return good


@contextlib.contextmanager
def open_library() -> Iterator[tuple[Path, ModuleType, Engine, Engine]]:
    """Give the library, CuPy (NumPy under --on_cpu), and the engines of the GPU and the CPU."""
    arrays: ModuleType = np
    if not ON_CPU.value:
        try:
            import cupy as arrays  # noqa: PLC0415 - not there without a GPU
        except ImportError as error:
            raise app.UsageError(f"{error}: pip install cupy-cuda12x, or --on_cpu") from error
        device, driver = arrays.cuda.runtime, arrays.cuda.runtime.driverGetVersion()
        print(device.getDeviceProperties(0)["name"].decode(), "driver of CUDA", driver)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(_LIBRARY.value) if _LIBRARY.value else _build(folder)
        library = ctypes.CDLL(str(path))
        begin = time.perf_counter()
        problem = loader.set_up(library)
        if problem:
            raise app.UsageError(f"the kernels cannot run: {problem}")
        print(f"kernels compiled or read from the cache in {time.perf_counter() - begin:.2f} s")
        yield path, arrays, Engine(library, arrays, True), Engine(library, np, False)


def main() -> None:
    """Compare, and look for errors under the sanitizers."""
    seed = int(time.time()) if _SEED.value is None else _SEED.value
    with open_library() as (path, _, gpu, cpu):
        good = compare(gpu, cpu, seed)
        if not _SMALL.value and not ON_CPU.value:
            good &= _sanitize(path, seed)
    print("\nall held" if good else "\nSOMETHING FAILED")
    sys.exit(not good)


if __name__ == "__main__":
    start(main)
