#include "geometry.h"

#include <cmath>

namespace fcam {
namespace {

constexpr double kLargestAddress = 4.0e18;
constexpr double kLargestCoordinate = 1.0e9;

}  // namespace

template <int D>
Status Prepare(const Image& image, const float* low, const float* high, Geometry<D>* geometry) {
  double scale[D];
  for (int i = 0; i < D; ++i) {
    const double sigma = i < 2 ? image.sigma_xy : image.sigma_rgb;
    scale[i] = std::sqrt(2.0 / 3.0) * (D + 1) / std::sqrt((i + 1.0) * (i + 2.0)) / sigma;
  }
  double cells = 1;
  double size[D];
  double reach = 0;
  for (int j = 0; j < D; ++j) {
    const double own = (j + 2) * scale[j] / (D + 1);
    const double previous = j == 0 ? 0 : -j * scale[j - 1] / (D + 1);
    geometry->own[j] = static_cast<float>(own);
    geometry->previous[j] = static_cast<float>(previous);
    double least = own * low[j], most = own * high[j];
    if (j > 0) {
      least += previous * high[j - 1];
      most += previous * low[j - 1];
    }
    reach += std::fmax(std::fabs(least), std::fabs(most));
    // One for rounding down, one for the vertices of the simplex, one for neighbours.
    size[j] = std::floor(most) - std::floor(least) + 7;
    geometry->lowest[j] = static_cast<int64_t>(std::fmax(std::floor(least) - 3, -kLargestCoordinate));
    cells *= size[j];
  }
  if (!(reach < kLargestCoordinate)) return Status::kRangeTooLarge;
  geometry->cells = cells;
  uint64_t stride = 1;
  for (int j = 0; j < D; ++j) {
    // Where even 64 bits are too few, odd factors make a fingerprint: two vertices of an image of a million
    // pixels share one with a probability below 1e-5.
    constexpr uint64_t kOdd[5] = {0x9E3779B97F4A7C15u, 0xC2B2AE3D27D4EB4Fu, 0x165667B19E3779F9u,
                                  0x27D4EB2F165667C5u, 0xD6E8FEB86659FD93u};
    geometry->stride[j] = cells <= kLargestAddress ? stride : kOdd[j];
    stride *= static_cast<uint64_t>(size[j]);
  }
  for (int j = 0; j < D; ++j) geometry->axis[j] = geometry->stride[j] - (j > 0 ? geometry->stride[j - 1] : 0);
  geometry->axis[D] = geometry->stride[D - 1];
  return Status::kOk;
}

template Status Prepare<3>(const Image&, const float*, const float*, Geometry<3>*);
template Status Prepare<5>(const Image&, const float*, const float*, Geometry<5>*);

}  // namespace fcam
