"""Checks and times the CUDA kernels of the CRF on a machine with a GPU; TensorFlow is not needed.

    PYTHONPATH=. python tools/check_cuda.py
    PYTHONPATH=. python tools/check_cuda.py --on_cpu   # the same without a GPU: tries the tool

Needs CuPy, CMake, a C++ compiler, absl-py, SciPy and scikit-image.

Three parts. Compare: filter, transposed filter, loss and gradient against the CPU's lattice and
the float64 oracle of the tests on fresh random inputs, twice, bit for bit. Sanitize: the same on
small images under compute-sanitizer, where it is installed. Time: loss and gradient of whole
batches, from the call to the end of the work on the GPU. The exit status tells whether all held.
"""

from __future__ import annotations

import ctypes
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags

from fcam_tf.ops import loader
from tests.ops.examples import photos, soft_maps
from tests.ops.lattice_oracle import Lattice, crf_loss

_ON_CPU = flags.DEFINE_bool("on_cpu", False, "run the kernels on the CPU, without a GPU")
_SEED = flags.DEFINE_integer("seed", None, "of the random inputs; default: the time")
_ROUNDS = flags.DEFINE_integer("rounds", 21, "rounds of each timing", lower_bound=3)
_PARTS = flags.DEFINE_list("parts", ["compare", "sanitize", "time"], "what to do")
_LIBRARY = flags.DEFINE_string("library", None, "a library built before; default: build it")
_SMALL = flags.DEFINE_bool("small", False, "small images only")

_ROOT = Path(__file__).parents[1]
_TOLERANCE = 1e-5  # relative L2
_TIES = 0.05  # the same, where rounding decides
_SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")
_SCRATCH = 2**32  # bytes
# Milliseconds an image of the best peer, two threads of a CPU (docs/results.md), by classes.
_PEER = {2: 6.0, 21: 8.8}

# The exact filter with 2 classes and ones: one pixel to a thread, all others through shared memory.
_EXACT = """
extern "C" __global__
void exact(const float* features, const float* values, int pixels, float* out) {
  __shared__ float f[256][5];
  __shared__ float v[256][3];
  const int i = blockIdx.x * 256 + threadIdx.x;
  features += 5ll * pixels * blockIdx.y;
  values += 3ll * pixels * blockIdx.y;
  float own[5], sum[3] = {};
  for (int d = 0; d < 5; ++d) own[d] = i < pixels ? features[5 * i + d] : 0;
  for (int start = 0; start < pixels; start += 256) {
    const int j = start + threadIdx.x;
    for (int d = 0; d < 5; ++d) f[threadIdx.x][d] = j < pixels ? features[5 * j + d] : 0;
    for (int k = 0; k < 3; ++k) v[threadIdx.x][k] = j < pixels ? values[3 * j + k] : 0;
    __syncthreads();
#pragma unroll 8
    for (int n = 0; n < 256; ++n) {
      float square = 0;
      for (int d = 0; d < 5; ++d) square += (own[d] - f[n][d]) * (own[d] - f[n][d]);
      const float weight = __expf(-0.5f * square);
      for (int k = 0; k < 3; ++k) sum[k] += weight * v[n][k];
    }
    __syncthreads();
  }
  for (int k = 0; k < 3 && i < pixels; ++k) out[(1ll * pixels * blockIdx.y + i) * 3 + k] = sum[k];
}
"""


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


class _Case(NamedTuple):
    name: str
    images: np.ndarray
    maps: np.ndarray
    sigmas: tuple[float, float]
    oracle: bool  # small enough for it


class _Engine:
    """The lattice of the library on one kind of memory: NumPy's (the CPU) or CuPy's (the GPU)."""

    def __init__(self, library: ctypes.CDLL, arrays: ModuleType, on_gpu: bool) -> None:
        self._library, self._arrays, self._on_gpu = library, arrays, on_gpu
        bytes_ = (2**28 if _ON_CPU.value else _SCRATCH) if on_gpu else 1
        self._scratch = arrays.empty(bytes_, np.uint8)

    def put(self, array: np.ndarray) -> Any:
        return self._arrays.asarray(array)

    def filter(self, case: _Case, images: Any, values: Any, transpose: bool) -> Any:
        filtered = self._arrays.full(values.shape, np.nan, np.float32)
        self._call("filter", case, images, values, transpose, filtered)
        return filtered

    def loss(self, case: _Case, images: Any, maps: Any, symmetric: bool) -> tuple[Any, Any]:
        losses = self._arrays.full(len(maps), np.nan, np.float32)
        gradients = self._arrays.full(maps.shape, np.nan, np.float32)
        self._call("loss", case, images, maps, symmetric, losses, gradients)
        return losses, gradients

    def _call(
        self, name: str, case: _Case, images: Any, values: Any, flag: bool, *out: Any
    ) -> None:
        described = _Images(
            self._address(images), images.dtype == np.uint8, *images.shape, *case.sigmas
        )
        function = getattr(self._library, f"fcam_check_{name}")
        function.restype = ctypes.c_char_p
        problem = function(
            ctypes.c_int(self._on_gpu),
            ctypes.byref(described),
            self._address(values),
            ctypes.c_int(values.shape[-1]),
            ctypes.c_int(flag),
            *(self._address(array) for array in out),
            self._address(self._scratch),
            ctypes.c_size_t(self._scratch.size),
        )
        if problem:
            raise RuntimeError(f"{case.name}: {problem.decode()}")

    def _address(self, array: Any) -> ctypes.c_void_p:
        gpu = hasattr(array, "data") and hasattr(array.data, "ptr")
        return ctypes.c_void_p(array.data.ptr if gpu else array.ctypes.data)


def _build(folder: Path) -> Path:
    target = "cuda_check_on_cpu" if _ON_CPU.value else "cuda_check"
    for arguments in (
        ["-S", str(_ROOT), "-B", str(folder), "-DFCAM_TESTS=ON"],
        ["--build", str(folder), "--target", target, "--parallel"],
    ):
        done = subprocess.run(  # noqa: S603
            [shutil.which("cmake") or "cmake", *arguments],
            capture_output=True,
            check=False,
            text=True,
        )
        if done.returncode:
            raise app.UsageError(f"cmake failed:\n{done.stdout}{done.stderr}")
    return folder / f"{target}.so"


def _numpy(array: Any) -> np.ndarray:
    return array.get() if hasattr(array, "get") else array


def _distance(got: np.ndarray, expected: np.ndarray, scale: np.ndarray) -> float:
    """Return the relative L2 distance; NaN where something is not a number."""
    return float(np.linalg.norm(got - expected) / max(np.linalg.norm(scale), 1e-30))


def _cases(rng: np.random.Generator) -> list[_Case]:
    cases = []

    def add(name: str, images: np.ndarray, classes: int, sigmas: tuple[float, float]) -> None:
        maps = soft_maps(rng, *images.shape[:3], classes)
        oracle = images[0, ..., 0].size <= 2500 and "noise" not in name
        images = np.ascontiguousarray(images)
        cases.append(_Case(f"{name} {maps.shape} {sigmas}", images, maps, sigmas, oracle))

    def pieces(size: int, *crop: int) -> np.ndarray:
        top, left = (rng.integers(0, size - side + 1) for side in crop)
        noise = rng.integers(0, 3, (3, *crop, 3))
        there = photos(size)[:, top : top + crop[0], left : left + crop[1]]
        return np.minimum(there + noise, 255).astype(np.uint8)

    for crop, classes in (((1, 1), 2), ((1, 37), 3), ((53, 1), 1), ((31, 45), 21), ((48, 48), 2)):
        add("photos", pieces(64, *crop), classes, (15.0, 50.0))
    add("photos, many vertices", pieces(64, 40, 40), 2, (5.0, 20.0))
    add("float photos", pieces(64, 40, 33).astype(np.float32) * 1.5 - 40, 32, (30.0, 30.0))
    add("grey photos", pieces(64, 40, 41)[..., :1], 5, (15.0, 50.0))
    add("constant", np.full((2, 40, 40, 3), 77, np.uint8), 2, (15.0, 100.0))
    add("noise", rng.integers(0, 256, (2, 48, 48, 3), np.uint8), 2, (15.0, 100.0))
    if not _SMALL.value and not _ON_CPU.value:
        add("photos", photos(224), 2, (15.0, 100.0))
        add("photos", photos(224), 21, (5.0, 20.0))
        add("noise", rng.integers(0, 256, (8, 224, 224, 3), np.uint8), 2, (15.0, 100.0))
        add("noise", rng.integers(0, 256, (1, 1000, 700, 3), np.uint8), 3, (15.0, 100.0))
        add("noise", rng.integers(0, 256, (1, 700, 1000, 3), np.uint8), 2, (2.0, 3.0))
    return cases


def _oracle(case: _Case, flag: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    filtered, losses, slopes = [], [], []
    for image, maps in zip(case.images, case.maps.astype(float), strict=True):
        filtered.append(Lattice(image, *case.sigmas).filter(maps, reverse=flag))
        loss, slope = crf_loss(image, maps, *case.sigmas, flag)
        losses.append(loss)
        slopes.append(slope)
    return np.stack(filtered), np.array(losses), np.stack(slopes)


def _compare(gpu: _Engine, cpu: _Engine, seed: int) -> bool:
    print(f"\nRelative L2 distances, the worst of both directions or modes (seed {seed})")
    print(f"{'case':58} {'GPU - CPU':>10} {'GPU - oracle':>13} {'CPU - oracle':>13}")
    good = True
    for case in _cases(np.random.default_rng(seed)):
        worst = np.zeros(3)
        again = True
        for flag in (True, False):
            runs = []
            for engine in (gpu, gpu, cpu):
                images, maps = engine.put(case.images), engine.put(case.maps)
                filtered = engine.filter(case, images, maps, flag)
                runs.append([_numpy(x) for x in (filtered, *engine.loss(case, images, maps, flag))])
            again &= all(np.array_equal(a, b) for a, b in zip(runs[0], runs[1], strict=True))
            one, _, other = runs
            pairs = [(one, other)]
            if case.oracle:
                expected = _oracle(case, flag)
                pairs += [(one, expected), (other, expected)]
            # Loss and gradient may be small differences of filtered values: these are the measure.
            scales = other[0], np.sum(other[0] * case.maps, axis=(1, 2, 3)), other[0]
            for n, (a, b) in enumerate(pairs):
                parts = [_distance(*x) for x in zip(a, b, scales, strict=True)]
                worst[n] = np.maximum(worst[n], np.max(parts))  # NaN stays
        # Near ties, rounding decides between two simplices: the CPU is then as far from the oracle.
        near = worst[1] <= max(_TOLERANCE, 1.5 * worst[2]) and worst[2] <= _TIES
        held = bool(worst[0] <= _TOLERANCE and near and again)
        good &= held
        oracle = [f"{x:.1e}" if case.oracle else "-" for x in worst[1:]]
        notes = "" if held else "  FAILED" + ("" if again else " (two runs differ)")
        print(f"{case.name:58} {worst[0]:10.1e} {oracle[0]:>13} {oracle[1]:>13}{notes}")
    return good


def _sanitize(library: Path, seed: int) -> bool:
    program = shutil.which("compute-sanitizer")
    if program is None or _ON_CPU.value:
        print("\ncompute-sanitizer: not run (there is none)")
        return True
    good = True
    for tool in _SANITIZERS:
        command = [program, "--tool", tool, "--error-exitcode", "9", sys.executable, __file__]
        command += ["--parts=compare", "--small", f"--library={library}", f"--seed={seed}"]
        done = subprocess.run(command, capture_output=True, check=False, text=True)  # noqa: S603
        summary = [line for line in done.stdout.splitlines() if "SUMMARY" in line]
        print(f"\ncompute-sanitizer {tool}: {' '.join(summary) or 'no summary'}")
        if done.returncode:
            good = False
            print("\n".join((done.stdout + done.stderr).splitlines()[-30:]))
    return good


def _median(call: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def _exact_call(gpu: _Engine, case: _Case, arrays: ModuleType) -> Callable[[], None]:
    batch, height, width, _ = case.images.shape
    y, x = np.mgrid[:height, :width]
    position = np.broadcast_to(np.stack([x, y], -1) / case.sigmas[1], (batch, height, width, 2))
    features = np.concatenate([position, case.images / case.sigmas[0]], -1).astype(np.float32)
    ones = np.ones_like(case.maps[..., :1])
    inputs = [gpu.put(features), gpu.put(np.concatenate([case.maps, ones], -1))]
    out = arrays.zeros((batch, height, width, 3), np.float32)
    kernel = arrays.RawKernel(_EXACT, "exact")
    grid = (-(-height * width // 256), batch)

    def call() -> None:
        kernel(grid, (256,), (*inputs, np.int32(height * width), out))
        arrays.cuda.Device().synchronize()

    return call


def _time(gpu: _Engine, cpu: _Engine, arrays: ModuleType) -> None:
    on_cpu = _ON_CPU.value
    size, rounds = (16, 1) if on_cpu else (224, _ROUNDS.value)
    print(f"\nLoss and gradient of {size}x{size} photos, median milliseconds an image")
    columns = ("GPU", "GPU, batch", "CPU", "exact on GPU", "copy on GPU", "peer, 2 CPU threads")
    print(f"{'case':34}" + "".join(f"{column:>20}" for column in columns))
    rng = np.random.default_rng(0)
    rows = [(8, 2, "photos"), (32, 2, "photos"), (8, 21, "photos"), (32, 21, "photos")]
    rows += [(32, 2, "noise"), (32, 2, "photos, 5/20"), (1, 2, "photos")]
    for count, classes, name in rows:
        batch = min(count, 2) if on_cpu else count
        images = np.resize(photos(size, 4), (batch, size, size, 3))
        if name == "noise":
            images = rng.integers(0, 256, images.shape, np.uint8)
        sigmas = (5.0, 20.0) if "5/20" in name else (15.0, 100.0)
        case = _Case(name, images, soft_maps(rng, *images.shape[:3], classes), sigmas, False)
        there = gpu.put(images), gpu.put(case.maps)

        def copies(there: tuple[Any, Any] = there) -> None:
            for array in (*there, there[1]):
                array.copy()
            if not on_cpu:
                arrays.cuda.Device().synchronize()

        figures = [
            _median(lambda c=case, t=there: gpu.loss(c, *t, True), rounds),
            None,
            _median(lambda c=case: cpu.loss(c, c.images, c.maps, True), 5),
            _median(_exact_call(gpu, case, arrays), 3) if classes == 2 and not on_cpu else None,
            _median(copies, rounds),
        ]
        cells = [None if x is None else x / batch for x in figures]
        cells[1] = figures[0]
        usual = name == "photos"
        cells.append(_PEER[classes] if usual else None)
        text = "".join(f"{'-' if x is None else f'{x:.4f}':>20}" for x in cells)
        print(f"{f'{name}, K={classes}, batch {batch}':34}{text}")
    one = _Case(
        "one pixel", np.zeros((1, 1, 1, 3), np.uint8), np.ones((1, 1, 1, 2)), (15, 100), False
    )
    there = gpu.put(one.images), gpu.put(one.maps.astype(np.float32))
    fixed = _median(lambda: gpu.loss(one, *there, True), rounds)
    print(f"a call for one pixel, which is all launches and synchronising: {fixed:.4f} ms")
    if not on_cpu:
        idle = _median(arrays.cuda.Device().synchronize, 1000)
        print(f"synchronising an idle device: {idle:.4f} ms")


def main(argv: list[str]) -> None:
    """Run the parts."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    if _ON_CPU.value:
        arrays: ModuleType = np
    else:
        try:
            import cupy as arrays  # noqa: PLC0415 - not there without a GPU
        except ImportError as error:
            raise app.UsageError(f"{error}: pip install cupy-cuda12x, or --on_cpu") from error
        name = arrays.cuda.runtime.getDeviceProperties(0)["name"].decode()
        driver = arrays.cuda.runtime.driverGetVersion()
        print(f"{name}, driver of CUDA {driver // 1000}.{driver % 1000 // 10}")
    seed = int(time.time()) if _SEED.value is None else _SEED.value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(_LIBRARY.value) if _LIBRARY.value else _build(Path(folder))
        library = ctypes.CDLL(str(path))
        start = time.perf_counter()
        problem = loader.set_up(library)
        if problem:
            raise app.UsageError(f"the kernels cannot run: {problem}")
        print(f"kernels compiled or read from the cache in {time.perf_counter() - start:.2f} s")
        gpu, cpu = _Engine(library, arrays, True), _Engine(library, np, False)
        good = True
        if "compare" in _PARTS.value:
            good &= _compare(gpu, cpu, seed)
        if "sanitize" in _PARTS.value:
            good &= _sanitize(path, seed)
        if "time" in _PARTS.value:
            _time(gpu, cpu, arrays)
    print("\nall held" if good else "\nSOMETHING FAILED")
    sys.exit(not good)


if __name__ == "__main__":
    app.run(main)
