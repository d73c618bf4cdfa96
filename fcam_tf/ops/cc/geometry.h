// Where the vertices of an image's lattice lie, and their addresses.
#ifndef FCAM_GEOMETRY_H_
#define FCAM_GEOMETRY_H_

#include <cstdint>

#include "permutohedral.h"

namespace fcam {

// Kuhn coordinates y of a pixel: vertices of the lattice are integers, its simplices those that sorting the
// fractions of y gives. y_j - y_{j+1} = own[j] raw_j + previous[j] raw_{j-1}, where raw = (x, y, channels).
template <int D>
struct Geometry {
  float own[D];
  float previous[D];
  int64_t lowest[D];    // of d_j = c_j - c_{j+1}, with a margin for neighbours
  uint64_t stride[D];   // address = sum_j (d_j - lowest_j) stride_j
  uint64_t axis[D + 1]; // what one step along each blurring axis adds to an address
  double cells;         // addresses are below this, unless they are fingerprints (see geometry.cc)
};

// low and high: the range of each raw feature. Compiled once, for D = 3 and 5, without special instructions.
template <int D>
Status Prepare(const Image& image, const float* low, const float* high, Geometry<D>* geometry);

}  // namespace fcam

#endif  // FCAM_GEOMETRY_H_
