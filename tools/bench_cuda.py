"""Times the CUDA kernels of the CRF on a machine with a GPU; TensorFlow is not needed.

    PYTHONPATH=. python tools/bench_cuda.py
    PYTHONPATH=. python tools/bench_cuda.py --on_cpu   # the same without a GPU: tries the tool

Loss and gradient of whole batches, everything on the card already, from the call to the end of the
work; beside it the dense Gaussian on the same card, and the lattice on the CPU. It needs what
check_cuda.py does.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from check_cuda import ON_CPU, Case, Engine, open_library
from common import print_table, start

from tests.ops.examples import photos, soft_maps

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


def _median(call: Callable[[], Any], rounds: int) -> float:
    """Return milliseconds."""
    times = []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times[1:])


def _exact_call(case: Case, arrays: ModuleType) -> Callable[[], None]:
    batch, height, width, _ = case.images.shape
    y, x = np.mgrid[:height, :width]
    position = np.broadcast_to(np.stack([x, y], -1) / case.sigmas[1], (batch, height, width, 2))
    features = np.concatenate([position, case.images / case.sigmas[0]], -1).astype(np.float32)
    values = np.concatenate([case.maps, np.ones_like(case.maps[..., :1])], -1)
    inputs = [arrays.asarray(features), arrays.asarray(values)]
    out = arrays.zeros((batch, height, width, 3), np.float32)
    kernel = arrays.RawKernel(_EXACT, "exact")
    grid = (-(-height * width // 256), batch)

    def call() -> None:
        kernel(grid, (256,), (*inputs, np.int32(height * width), out))
        arrays.cuda.Device().synchronize()

    return call


def main() -> None:
    """Time, and print a table."""
    with open_library() as (_, arrays, gpu, cpu):
        _time(gpu, cpu, arrays)


def _time(gpu: Engine, cpu: Engine, arrays: ModuleType) -> None:
    on_cpu = ON_CPU.value
    size, rounds = (16, 1) if on_cpu else (224, 21)
    rng = np.random.default_rng(0)
    cases = [(1, 2, "photos"), (8, 2, "photos"), (32, 2, "photos"), (8, 21, "photos")]
    cases += [(32, 21, "photos"), (32, 2, "noise"), (32, 2, "photos, 5/20")]
    rows = []
    for count, classes, name in cases:
        batch = min(count, 2) if on_cpu else count
        images = np.resize(photos(size, 4), (batch, size, size, 3))
        if name == "noise":
            images = rng.integers(0, 256, images.shape, np.uint8)
        sigmas = (5.0, 20.0) if "5/20" in name else (15.0, 100.0)
        case = Case(name, images, soft_maps(rng, *images.shape[:3], classes), sigmas)
        there = gpu.put(case)
        whole = _median(lambda there=there: gpu.loss(there, True), rounds)
        figures = [whole, whole / batch, None]
        if classes == 2 and not on_cpu:
            figures[2] = _median(_exact_call(case, arrays), 3) / batch
        figures.append(_median(lambda case=case: cpu.loss(case, True), 5) / batch)
        cells = ["-" if x is None else f"{x:.4f}" for x in figures]
        rows.append([f"{name}, K={classes}, batch {batch}", *cells])
    title = f"Loss and gradient of {size}x{size} photos, median milliseconds"
    print_table(title, ["case", "a batch", "an image", "an image, exact", "an image, CPU"], rows)
    one = gpu.put(
        Case("", np.zeros((1, 1, 1, 3), np.uint8), np.ones((1, 1, 1, 2), np.float32), (15, 100))
    )
    fixed = _median(lambda: gpu.loss(one, True), rounds)
    print(f"a call for one pixel, which is all launches and synchronising: {fixed:.4f} ms")


if __name__ == "__main__":
    start(main)
