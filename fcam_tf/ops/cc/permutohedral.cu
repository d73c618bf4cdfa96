// The lattice on a GPU, for a batch of images: blockIdx.y is the image. The numbers are those of lattice.inc, but
// nothing depends on which thread comes first, so that results are the same from run to run: pixels mark their vertices
// in a bitmap, and the rank of a vertex in it is its number; values are splatted in fixed point, where the order of
// additions does not matter.
//
// Compiled at run time for the GPU at hand (cuda_compiler.h), by nvcc as a check, and by a C++ compiler in the tests.

#include "cuda_pixels.h"
#include "cuda_vertices.h"

using namespace fcam::cuda;

namespace {

// The sum of what the threads before this one hold; `shared` has kThreads elements, and ends with the sum of all last.
__device__ unsigned SumBefore(unsigned value, unsigned* shared) {
  shared[threadIdx.x] = value;
  __syncthreads();
  for (unsigned step = 1; step < kThreads; step *= 2) {
    const unsigned left = threadIdx.x >= step ? shared[threadIdx.x - step] : 0;
    __syncthreads();
    shared[threadIdx.x] += left;
    __syncthreads();
  }
  return shared[threadIdx.x] - value;
}

// The sum of what all threads hold, in a fixed order; the first thread has it.
__device__ double Sum(double value, double* shared) {
  shared[threadIdx.x] = value;
  __syncthreads();
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    __syncthreads();
  }
  return shared[0];
}

// Fixed point of an image's values: this many binary places keep the sum over all pixels below 2^62.
__device__ int Places(const Job& job, unsigned peak) {
  const int exponent = static_cast<int>(peak >> 23) - 126;  // values are below 2^exponent
  const int most = 32 - __clz(job.pixels - 1);              // there are up to 2^most of them
  const int places = 62 - most - exponent;
  return places < 127 ? places : 127;
}

__device__ int PlacesOf(const Job& job, unsigned image, int channel) {
  if (job.factors != nullptr) return Places(job, __float_as_uint(2.0f));  // marginals, by factors below 3
  const bool ones = channel >= job.count || job.values == nullptr;
  return Places(job, ones ? __float_as_uint(1.0f) : job.found[image * kFound + kValuesPeak]);
}

// A word of this image's bitmap that this thread counts.
__device__ unsigned Word(unsigned k) { return blockIdx.x * kTile + threadIdx.x * (kTile / kThreads) + k; }

__device__ unsigned CountVertices(const Job& job, const Cell* cells) {
  unsigned count = 0;
  for (unsigned k = 0; k < kTile / kThreads; ++k) {
    if (Word(k) < job.words) count += __popc(cells[Word(k)].bits);
  }
  return count;
}

template <int D>
__device__ void Mark(const Job& job) {
  const unsigned pixel = Thread();
  if (pixel >= static_cast<unsigned>(job.pixels)) return;
  unsigned long long addresses[D + 1];
  float weights[D + 1];
  Locate<D>(job, blockIdx.y, pixel, addresses, weights);
#pragma unroll
  for (int v = 0; v <= D; ++v) {
    if (job.slots == 0) {
      MarkPlace(Cells(job, blockIdx.y), addresses[v]);
    } else {
      Hold(job, blockIdx.y, addresses[v], pixel * (D + 1) + v);
    }
  }
}

// The simplices of a block's pixels. Rows are longer than the block, so that vertices fall on different banks.
struct Simplices {
  unsigned ids[6][kThreads + 1];
  float weights[6][kThreads + 1];
};

template <int D>
__device__ void LocateBlock(const Job& job, Simplices& simplices) {
  const unsigned pixel = Thread();
  if (pixel < static_cast<unsigned>(job.pixels)) {
    unsigned long long addresses[D + 1];
    float weights[D + 1];
    Locate<D>(job, blockIdx.y, pixel, addresses, weights);
    const long long index = static_cast<long long>(blockIdx.y) * job.pixels + pixel;
    const float factor = job.factors == nullptr ? 1.0f : job.factors[index];
#pragma unroll
    for (int v = 0; v <= D; ++v) {
      simplices.ids[v][threadIdx.x] = Find(job, blockIdx.y, addresses[v]);
      simplices.weights[v][threadIdx.x] = weights[v] * factor;
    }
  }
  __syncthreads();
}

// Pixels of this block, of which the last one of an image has fewer.
__device__ unsigned PixelsHere(const Job& job) {
  const unsigned left = job.pixels - blockIdx.x * kThreads;
  return left < kThreads ? left : kThreads;
}

template <int D>
__device__ void Splat(const Job& job, Simplices& simplices) {
  LocateBlock<D>(job, simplices);
  const unsigned here = PixelsHere(job);
  const unsigned count = job.count;
  const unsigned channels = count + job.ones;
  const unsigned runs = (here + kRun - 1) / kRun;
  const long long first = static_cast<long long>(blockIdx.y) * job.pixels + blockIdx.x * kThreads;
  long long* sums = job.sums + static_cast<unsigned long long>(blockIdx.y) * job.rows * channels;
  for (unsigned item = threadIdx.x; item < runs * (D + 1) * channels; item += kThreads) {
    const unsigned channel = item % channels;
    const unsigned vertex = item / channels % (D + 1);
    const unsigned start = item / channels / (D + 1) * kRun;
    const unsigned end = start + kRun < here ? start + kRun : here;
    const float scale = ldexpf(1.0f, PlacesOf(job, blockIdx.y, channel));
    // Neighbours in a row often share a vertex: what they add to it goes there at once.
    unsigned id = simplices.ids[vertex][start];
    unsigned long long sum = 0;  // wraps around where mean field has made a NaN
    for (unsigned p = start; p < end; ++p) {
      if (simplices.ids[vertex][p] != id) {
        atomicAdd(reinterpret_cast<unsigned long long*>(sums + static_cast<long long>(id) * channels + channel), sum);
        id = simplices.ids[vertex][p];
        sum = 0;
      }
      const bool ones = channel >= count || job.values == nullptr;
      const float value = ones ? 1.0f : job.values[(first + p) * count + channel];
      sum += static_cast<unsigned long long>(__float2ll_rn(simplices.weights[vertex][p] * value * scale));
    }
    atomicAdd(reinterpret_cast<unsigned long long*>(sums + static_cast<long long>(id) * channels + channel), sum);
  }
}

template <int D>
__device__ void Slice(const Job& job, Simplices& simplices) {
  LocateBlock<D>(job, simplices);
  const unsigned channels = job.count + job.ones;
  const unsigned images = gridDim.y;
  const long long first = static_cast<long long>(blockIdx.y) * job.pixels + blockIdx.x * kThreads;
  // The last step of the blur wrote the second buffer of each direction.
  const float* blurred = job.blurred + static_cast<unsigned long long>(images + blockIdx.y) * job.rows * channels;
  const unsigned count = job.count;
  for (unsigned item = threadIdx.x; item < PixelsHere(job) * count; item += kThreads) {
    const unsigned pixel = item / count;
    const unsigned channel = item % count;
    float sum = 0;
#pragma unroll
    for (int v = 0; v <= D; ++v) {
      const long long id = simplices.ids[v][pixel];
      sum = fmaf(simplices.weights[v][pixel], blurred[id * channels + channel], sum);
    }
    job.out[first * count + item] = sum * job.alpha;
  }
}

}  // namespace

// Largest magnitudes, in which NaN and infinity show, and the range of the channels of float images.
extern "C" __global__ void fcam_inspect(const __grid_constant__ Job job) {
  __shared__ unsigned largest[kFound];
  if (threadIdx.x < kFound) largest[threadIdx.x] = 0;
  __syncthreads();
  unsigned own[kFound] = {};
  const long long size = static_cast<long long>(job.pixels) * job.count;
  for (long long i = Thread(); i < size; i += gridDim.x * kThreads) {
    const unsigned bits = __float_as_uint(job.values[blockIdx.y * size + i]) & 0x7fffffffu;
    if (bits > own[kValuesPeak]) own[kValuesPeak] = bits;
  }
  if (!job.is_uint8) {
    for (int pixel = Thread(); pixel < job.pixels; pixel += gridDim.x * kThreads) {
#pragma unroll
      for (int c = 0; c < 3; ++c) {
        if (c == job.channels) break;
        const float value = Pixel(job, blockIdx.y, pixel, c);
        const unsigned bits = __float_as_uint(value) & 0x7fffffffu;
        const unsigned ordered = Ordered(value);
        if (bits > own[kPixelsPeak]) own[kPixelsPeak] = bits;
        if (ordered > own[kHighest + c]) own[kHighest + c] = ordered;
        if (~ordered > own[kLowest + c]) own[kLowest + c] = ~ordered;
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kFound; ++i) {
    if (own[i] > 0) atomicMax(&largest[i], own[i]);
  }
  __syncthreads();
  if (threadIdx.x < kFound) atomicMax(&job.found[blockIdx.y * kFound + threadIdx.x], largest[threadIdx.x]);
}

extern "C" __global__ void fcam_mark3(const __grid_constant__ Job job) { Mark<3>(job); }
extern "C" __global__ void fcam_mark5(const __grid_constant__ Job job) { Mark<5>(job); }

// Vertices of each tile of the bitmap ...
extern "C" __global__ void fcam_count(const __grid_constant__ Job job) {
  __shared__ unsigned shared[kThreads];
  SumBefore(CountVertices(job, Cells(job, blockIdx.y)), shared);
  if (threadIdx.x == 0) job.before[blockIdx.y * job.tiles + blockIdx.x] = shared[kThreads - 1];
}

// ... of all tiles before each, and of the image; one block for an image ...
extern "C" __global__ void fcam_scan(const __grid_constant__ Job job) {
  __shared__ unsigned shared[kThreads];
  unsigned* before = job.before + blockIdx.y * job.tiles;
  unsigned total = 0;
  for (unsigned start = 0; start < job.tiles; start += kThreads) {
    const unsigned tile = start + threadIdx.x;
    const unsigned left = SumBefore(tile < job.tiles ? before[tile] : 0, shared);
    if (tile < job.tiles) before[tile] = total + left;
    total += shared[kThreads - 1];
    __syncthreads();
  }
  if (threadIdx.x == 0) job.vertices[blockIdx.y] = total;
}

// ... and the number of the first vertex of each word.
extern "C" __global__ void fcam_rank(const __grid_constant__ Job job) {
  __shared__ unsigned shared[kThreads];
  Cell* cells = Cells(job, blockIdx.y);
  const unsigned left = SumBefore(CountVertices(job, cells), shared);
  unsigned first = 1 + job.before[blockIdx.y * job.tiles + blockIdx.x] + left;
  for (unsigned k = 0; k < kTile / kThreads; ++k) {
    if (Word(k) >= job.words) break;
    cells[Word(k)].first = first;
    first += __popc(cells[Word(k)].bits);
  }
}

extern "C" __global__ void fcam_connect(const __grid_constant__ Job job) {
  const unsigned word = Thread();
  if (word >= job.words) return;
  const Cell cell = Cells(job, blockIdx.y)[word];
  unsigned id = cell.first;
  for (unsigned bits = cell.bits; bits != 0; bits &= bits - 1, ++id) {
    Connect(job, id, word * 32ull + __ffs(bits) - 1);
  }
}

// Of the hash table: the places of the vertices go into the bitmap ...
extern "C" __global__ void fcam_hash_mark(const __grid_constant__ Job job) {
  const unsigned slot = Thread();
  if (slot >= job.slots || Keys(job, blockIdx.y)[slot] == kFree) return;
  MarkPlace(Cells(job, blockIdx.y), Holders(job, blockIdx.y)[slot]);
}

// ... and their ranks come back ...
extern "C" __global__ void fcam_hash_rank(const __grid_constant__ Job job) {
  const unsigned slot = Thread();
  if (slot >= job.slots || Keys(job, blockIdx.y)[slot] == kFree) return;
  unsigned* holder = Holders(job, blockIdx.y) + slot;
  *holder = Rank(Cells(job, blockIdx.y), *holder);
}

// ... by which neighbours are found.
extern "C" __global__ void fcam_hash_connect(const __grid_constant__ Job job) {
  const unsigned slot = Thread();
  if (slot >= job.slots || Keys(job, blockIdx.y)[slot] == kFree) return;
  Connect(job, Holders(job, blockIdx.y)[slot], Keys(job, blockIdx.y)[slot]);
}

extern "C" __global__ void fcam_splat3(const __grid_constant__ Job job) {
  __shared__ Simplices simplices;
  Splat<3>(job, simplices);
}
extern "C" __global__ void fcam_splat5(const __grid_constant__ Job job) {
  __shared__ Simplices simplices;
  Splat<5>(job, simplices);
}

// Fixed point to float. One thread for each channel of each vertex, as in what follows.
extern "C" __global__ void fcam_settle(const __grid_constant__ Job job) {
  const unsigned channels = job.count + job.ones;
  const unsigned item = Thread();
  if (item / channels > job.vertices[blockIdx.y]) return;
  const unsigned long long index = static_cast<unsigned long long>(blockIdx.y) * job.rows * channels + item;
  job.splatted[index] =
      ldexpf(static_cast<float>(job.sums[index]), -PlacesOf(job, blockIdx.y, static_cast<int>(item % channels)));
}

// One axis of the blur; blockIdx.z is the direction.
extern "C" __global__ void fcam_blur(const __grid_constant__ Job job, int step) {
  const unsigned channels = job.count + job.ones;
  const unsigned item = Thread();
  const unsigned id = item / channels;
  if (id > job.vertices[blockIdx.y]) return;
  const unsigned long long size = static_cast<unsigned long long>(job.rows) * channels;
  const unsigned images = gridDim.y;
  float* buffers = job.blurred + (static_cast<unsigned long long>(blockIdx.z) * 2 * images + blockIdx.y) * size;
  const float* from = step == 0 ? job.splatted + blockIdx.y * size : buffers + (step + 1) % 2 * images * size;
  float* to = buffers + step % 2 * images * size;
  if (id == 0) {
    to[item] = 0;
    return;
  }
  const bool reversed = (blockIdx.z == 1) != (job.reversed_first != 0);
  const int axis = reversed ? job.axes - 1 - step : step;
  const unsigned* both =
      job.neighbours + (static_cast<unsigned long long>(blockIdx.y) * job.axes + axis) * 2 * job.rows + id;
  const unsigned channel = item % channels;
  const float one = from[static_cast<unsigned long long>(both[0]) * channels + channel];
  const float other = from[static_cast<unsigned long long>(both[job.rows]) * channels + channel];
  to[item] = fmaf(0.5f, one + other, from[item]);
}

// Losses, summed in double, and what their gradients are sliced from. With ones the filter is the mean of both
// directions and the loss that of (W + W^T) / 2; without, those of the published code.
extern "C" __global__ void fcam_combine(const __grid_constant__ Job job) {
  __shared__ double shared[kThreads];
  const unsigned channels = job.count + job.ones;
  const unsigned item = Thread();
  const unsigned id = item / channels;
  const unsigned channel = item % channels;
  double term = 0;
  if (id > 0 && id <= job.vertices[blockIdx.y] && static_cast<int>(channel) < job.count) {
    const unsigned long long size = static_cast<unsigned long long>(job.rows) * channels;
    const unsigned images = gridDim.y;
    float* one = job.blurred + (images + blockIdx.y) * size;
    const float* other = one + 2 * images * size;
    const unsigned all = item - channel + job.count;
    const float ones = job.ones ? 0.5f * (one[all] + other[all]) : 0.0f;
    const float value = job.ones ? 0.5f * (one[item] + other[item]) : one[item];
    term = static_cast<double>(job.splatted[blockIdx.y * size + item]) * (static_cast<double>(ones) - value);
    one[item] = ones - 2.0f * value;
  }
  const double sum = Sum(term, shared);
  if (threadIdx.x == 0) job.partial[blockIdx.y * static_cast<unsigned long long>(job.blocks) + blockIdx.x] = sum;
}

extern "C" __global__ void fcam_total(const __grid_constant__ Job job) {
  __shared__ double shared[kThreads];
  const double* partial = job.partial + blockIdx.y * static_cast<unsigned long long>(job.blocks);
  double sum = 0;
  for (unsigned i = threadIdx.x; i < job.blocks; i += kThreads) sum += partial[i];
  sum = Sum(sum, shared);
  if (threadIdx.x == 0) job.losses[blockIdx.y] = static_cast<float>(sum * job.alpha);
}

extern "C" __global__ void fcam_slice3(const __grid_constant__ Job job) {
  __shared__ Simplices simplices;
  Slice<3>(job, simplices);
}
extern "C" __global__ void fcam_slice5(const __grid_constant__ Job job) {
  __shared__ Simplices simplices;
  Slice<5>(job, simplices);
}
