// What mean field does to pixels, between the filters: the kernels of mean field alone. See mean_field.inc.
#ifndef FCAM_CUDA_PIXELS_H_
#define FCAM_CUDA_PIXELS_H_

#include "cuda_vertices.h"

// D^-1/2 of each pixel, in the place of D: its ones, filtered.
extern "C" __global__ void fcam_normalise(const __grid_constant__ fcam::cuda::Job job) {
  const unsigned pixel = fcam::cuda::Thread();
  if (pixel >= static_cast<unsigned>(job.pixels)) return;
  constexpr float kLeast = 1.17549435e-38f;  // each pixel has affinity to itself: no division by 0 but for rounding
  float* ones = job.out + static_cast<long long>(blockIdx.y) * job.pixels + pixel;
  *ones = 1.0f / sqrtf(*ones > kLeast ? *ones : kLeast);
}

// The spatial kernel along one axis: of the marginals along x (axis 0), and of what becomes of them along y. One thread
// for each class of each pixel.
extern "C" __global__ void fcam_spread(const __grid_constant__ fcam::cuda::Job job, int axis) {
  const unsigned item = fcam::cuda::Thread();
  const unsigned classes = job.count;
  const long long size = static_cast<long long>(job.pixels) * classes;
  if (item >= size) return;
  const int pixel = static_cast<int>(item / classes);
  const int length = axis == 0 ? job.width : job.pixels / job.width;
  const int position = axis == 0 ? pixel % job.width : pixel / job.width;
  const long long step = axis == 0 ? classes : static_cast<long long>(job.width) * classes;
  const int radius = job.radius[axis];
  const int first = position < radius ? 0 : position - radius;
  const int last = position + radius < length ? position + radius : length - 1;
  const float* from = (axis == 0 ? job.marginals : job.across) + blockIdx.y * size + item;
  float sum = 0;
  for (int other = first; other <= last; ++other) {
    const int distance = other < position ? position - other : other - position;
    sum = fmaf(job.taps[axis][distance] * job.scales[axis][other], from[(other - position) * step], sum);
  }
  (axis == 0 ? job.across : job.spatial)[blockIdx.y * size + item] = job.scales[axis][position] * sum;
}

// The marginals of a pixel from its unaries and, but in the first iteration, its messages.
extern "C" __global__ void fcam_update(const __grid_constant__ fcam::cuda::Job job, int iteration) {
  const unsigned pixel = fcam::cuda::Thread();
  if (pixel >= static_cast<unsigned>(job.pixels)) return;
  const int classes = job.count;
  const long long first = (static_cast<long long>(blockIdx.y) * job.pixels + pixel) * classes;
  const auto message = [&job, first](int c) {
    const float bilateral = job.bilateral == nullptr ? 0.0f : job.bilateral_weight * job.bilateral[first + c];
    return job.spatial == nullptr ? bilateral : fmaf(job.spatial_weight, job.spatial[first + c], bilateral);
  };
  float* marginals = job.marginals + first;
  float most = 0;
  for (int l = 0; l < classes; ++l) {
    float score = -job.unaries[first + l];
    if (iteration > 0 && job.compatibility == nullptr) score += message(l);
    for (int m = 0; iteration > 0 && job.compatibility != nullptr && m < classes; ++m) {
      score = fmaf(-job.compatibility[l * classes + m], message(m), score);
    }
    marginals[l] = score;
    if (l == 0 || score > most) most = score;
  }
  float sum = 0;
  for (int l = 0; l < classes; ++l) sum += marginals[l] = expf(marginals[l] - most);
  for (int l = 0; l < classes; ++l) marginals[l] /= sum;
}

#endif  // FCAM_CUDA_PIXELS_H_
