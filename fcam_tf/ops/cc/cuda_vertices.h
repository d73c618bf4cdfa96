// Where a pixel's vertices are, and what numbers they have: the part of the CUDA kernels that knows the lattice.
#ifndef FCAM_CUDA_VERTICES_H_
#define FCAM_CUDA_VERTICES_H_

#include "cuda_job.h"

namespace fcam {
namespace cuda {

constexpr float kUnit = 134217728.0f;  // 2^27: fractions as integers, with room for three more bits

inline __device__ unsigned Thread() { return blockIdx.x * kThreads + threadIdx.x; }

// Unsigned integers in the order of the floats.
inline __device__ unsigned Ordered(float value) {
  const unsigned bits = __float_as_uint(value);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

inline __device__ void SortDescending(int& a, int& b) {
  const int larger = a > b ? a : b;
  b = a > b ? b : a;
  a = larger;
}

inline __device__ float Pixel(const Job& job, unsigned image, int pixel, int channel) {
  const long long index = (static_cast<long long>(image) * job.pixels + pixel) * job.channels + channel;
  return job.is_uint8 ? static_cast<float>(static_cast<const unsigned char*>(job.image)[index])
                      : static_cast<const float*>(job.image)[index];
}

// The vertices of a pixel's simplex and its barycentric weights; lattice.inc explains.
template <int D>
__device__ void Locate(const Job& job, unsigned image, int pixel, unsigned long long* addresses, float* weights) {
  float raw[D];
  raw[0] = static_cast<float>(pixel % job.width);
  raw[1] = static_cast<float>(pixel / job.width);
#pragma unroll
  for (int c = 0; c < D - 2; ++c) raw[c + 2] = Pixel(job, image, pixel, c);
  float y = 0;
  int above = 0;
  unsigned long long address = 0;
  int key[D];
#pragma unroll
  for (int j = D - 1; j >= 0; --j) {
    y = fmaf(job.own[j], raw[j], y);
    if (j > 0) y = fmaf(job.previous[j], raw[j - 1], y);
    int floor = static_cast<int>(y);
    floor -= static_cast<float>(floor) > y;
    key[j] = (static_cast<int>((y - static_cast<float>(floor)) * kUnit) << 3) | (7 - j);
    address += static_cast<unsigned>(floor - above - job.lowest[j]) * job.stride[j];
    above = floor;
  }
  if (D == 5) {
    SortDescending(key[0], key[1]);
    SortDescending(key[D - 2], key[D - 1]);
    SortDescending(key[2], key[D - 1]);
    SortDescending(key[2], key[D - 2]);
    SortDescending(key[1], key[D - 1]);
    SortDescending(key[0], key[D - 2]);
    SortDescending(key[0], key[2]);
    SortDescending(key[1], key[D - 2]);
    SortDescending(key[1], key[2]);
  } else {
    SortDescending(key[0], key[1]);
    SortDescending(key[1], key[2]);
    SortDescending(key[0], key[1]);
  }
  float before = 1.0f;
  addresses[0] = address;
#pragma unroll
  for (int k = 0; k < D; ++k) {
    const float fraction = static_cast<float>(key[k] >> 3) * (1.0f / kUnit);
    weights[k] = before - fraction;
    before = fraction;
    address += job.axis[7 - (key[k] & 7)];
    addresses[k + 1] = address;
  }
  weights[D] = before;
}

inline __device__ Cell* Cells(const Job& job, unsigned image) {
  return job.cells + static_cast<unsigned long long>(image) * job.words;
}

inline __device__ unsigned long long* Keys(const Job& job, unsigned image) {
  return job.keys + static_cast<unsigned long long>(image) * job.slots;
}

inline __device__ unsigned* Holders(const Job& job, unsigned image) {
  return job.holders + static_cast<unsigned long long>(image) * job.slots;
}

// Where a look-up of an address begins. At most half of the slots are used, so that it soon ends.
inline __device__ unsigned Slot(const Job& job, unsigned long long address) {
  return static_cast<unsigned>((address ^ (address >> 29)) * 0x9E3779B97F4A7C15ull >> 24) & (job.slots - 1);
}

inline __device__ void MarkPlace(Cell* cells, unsigned long long place) {
  unsigned* bits = &cells[place / 32].bits;
  const unsigned bit = 1u << place % 32;
  if (!(*bits & bit)) atomicOr(bits, bit);  // most are there already, and reading is cheaper
}

// The number of the vertex at a place, 0 where there is none.
inline __device__ unsigned Rank(const Cell* cells, unsigned long long place) {
  const Cell cell = cells[place / 32];
  const unsigned bit = 1u << place % 32;
  return cell.bits & bit ? cell.first + __popc(cell.bits & (bit - 1)) : 0;
}

// The number of the vertex at an address, 0 where there is none.
inline __device__ unsigned Find(const Job& job, unsigned image, unsigned long long address) {
  if (job.slots == 0) return Rank(Cells(job, image), address);
  const unsigned long long* keys = Keys(job, image);
  for (unsigned slot = Slot(job, address);; slot = (slot + 1) & (job.slots - 1)) {
    if (keys[slot] == address) return Holders(job, image)[slot];
    if (keys[slot] == kFree) return 0;
  }
}

// Puts an address into the hash table, and the first of the places that it is found at.
inline __device__ void Hold(const Job& job, unsigned image, unsigned long long address, unsigned place) {
  unsigned long long* keys = Keys(job, image);
  unsigned slot = Slot(job, address);
  for (;; slot = (slot + 1) & (job.slots - 1)) {
    unsigned long long key = keys[slot];
    if (key == kFree) key = atomicCAS(&keys[slot], kFree, address);
    if (key == kFree || key == address) break;
  }
  unsigned* holder = Holders(job, image) + slot;
  if (place < *holder) atomicMin(holder, place);
}

// Notes the neighbours of a vertex along each axis, on both sides.
inline __device__ void Connect(const Job& job, unsigned id, unsigned long long address) {
  unsigned* neighbours = job.neighbours + static_cast<unsigned long long>(blockIdx.y) * job.axes * 2 * job.rows;
  for (int axis = 0; axis < job.axes; ++axis) {
    unsigned* both = neighbours + static_cast<unsigned long long>(axis) * 2 * job.rows + id;
    both[0] = Find(job, blockIdx.y, address + job.axis[axis]);
    both[job.rows] = Find(job, blockIdx.y, address - job.axis[axis]);
  }
}

}  // namespace cuda
}  // namespace fcam

#endif  // FCAM_CUDA_VERTICES_H_
