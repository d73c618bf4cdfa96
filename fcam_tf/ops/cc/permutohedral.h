// The permutohedral lattice (Adams, Baek and Davis, 2010) as a Gaussian filter over position and colour, and the
// dense-CRF loss computed inside it. Plain C++17: nothing here knows of TensorFlow.
//
// W is the affinity exp(-|f_i - f_j|^2 / 2) of pixels i and j, approximated, with the features
// f = (x / sigma_xy, y / sigma_xy, channels / sigma_rgb). As in the CRF losses in use, W is not normalised.
#ifndef FCAM_PERMUTOHEDRAL_H_
#define FCAM_PERMUTOHEDRAL_H_

#include <cstddef>
#include <cstdint>
#include <memory>

namespace fcam {

enum class Status {
  kOk,
  kImageNotFinite,
  kValuesNotFinite,
  kRangeTooLarge,  // a feature passes what 32-bit lattice coordinates hold
  kOutOfMemory,
};

struct Image {
  const void* pixels;  // height x width x channels, row by row
  bool is_uint8;       // else float
  int64_t height;
  int64_t width;
  int channels;  // 1 or 3
  float sigma_rgb;
  float sigma_xy;
};

enum class Direction {
  kForward,    // W
  kTransposed  // W^T: the same blurs in reversed order
};

// Scratch memory of one call at a time. It is kept between calls and grows with the largest image seen.
class Workspace {
 public:
  Workspace();
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // Vertices of the lattice of the last image.
  int64_t vertices() const;

  // What it holds, in bytes.
  size_t bytes() const;

  struct Memory;
  Memory* memory() { return memory_.get(); }

 private:
  std::unique_ptr<Memory> memory_;
};

// filtered = W values; both are height x width x count.
Status Filter(Workspace& workspace, const Image& image, const float* values, int count, Direction direction,
              float* filtered);

// loss = sum_c S_c^T W (1 - S_c), with W replaced by (W + W^T) / 2, and its exact gradient by every S_c.
// Not symmetric: the published code's loss = -sum_c S_c^T W S_c and gradient -2 W S_c, which is inexact.
// probabilities and gradient (may be null) are height x width x classes.
Status CrfLoss(Workspace& workspace, const Image& image, const float* probabilities, int classes, bool symmetric,
               double* loss, float* gradient);

// The instruction set that is used: "avx512", "avx2" or "baseline".
const char* InstructionSet();

}  // namespace fcam

#endif  // FCAM_PERMUTOHEDRAL_H_
